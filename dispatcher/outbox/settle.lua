-- Writes what became of an outbox entry and removes the entry, if this consumer still
-- holds it. The fragments that upper packages register stand before this: each is a
-- function of a table `fragments`, which gets its keys and arguments and returns a
-- number.
--
-- KEYS  1 stream  2 delayed set  3 dead letters  4 the event's record (or the stream
--       again: none)  5… keys of the fragments, one after another
-- ARGV  1 consumer group  2 consumer  3 id of the entry  4 lane
--       5 lines for the record, or ''
--       6 number of delayed entries, then delay in ms and entry of each
--       next: number of dead letters, then device, reason and entry of each
--       next: number of fragments, then for each its name, its number of keys, its
--       number of arguments, and the arguments
-- Reply {1, what each fragment returned, …}, or {0} when another consumer holds the
--       entry

local stream, delayed, dead, record = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, consumer, id, lane, lines = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

if #redis.call('XPENDING', stream, group, id, id, 1, consumer) == 0 then return {0} end

local i = 5
local function next_arg() i = i + 1; return ARGV[i] end
local function next_number() return tonumber(next_arg()) end

if lines ~= '' and redis.call('EXISTS', record) == 1 then -- it may have expired
  redis.call('APPEND', record, lines)
end

local count = next_number()
if count > 0 then
  for _ = 1, count do
    local delay, entry = next_number(), next_arg()
    redis.call('ZADD', delayed, due_at(delayed, delay), entry)
  end
end

for _ = 1, next_number() do
  local device, reason, entry = next_arg(), next_arg(), next_arg()
  redis.call('XADD', dead, '*', 'lane', lane, 'device', device, 'reason', reason, 'e', entry)
end

local reply, next_key = {1}, 5
for _ = 1, next_number() do
  local name, key_count, arg_count = next_arg(), next_number(), next_number()
  local keys, args = {}, {}
  for k = 1, key_count do
    keys[k], next_key = KEYS[next_key], next_key + 1
  end
  for a = 1, arg_count do args[a] = next_arg() end
  reply[#reply + 1] = fragments[name](keys, args)
end

redis.call('XACK', stream, group, id)
redis.call('XDEL', stream, id)
return reply
