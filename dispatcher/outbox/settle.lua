-- Writes the outcome of an outbox entry and removes the entry, if this consumer still holds
-- it. The source of the fragments, which upper packages register, stands before this
-- script: the table `fragments` has a function for each, which gets keys and arguments and
-- returns a number, and the table `types` has the types of each fragment's keys.
--
-- It works at maxmemory; see doc.go. The entry is removed last: after an error the consumer
-- still holds it and can settle it again.
--
-- KEYS  1 stream  2 dead letters  3 the event's record (or the stream again: none)
--       next: if there are delayed entries, or the entry was delayed before, the index of
--       unsent pushes; see unsent.go
--       next: for each delayed entry the delayed or waiting set that it goes to
--       next: keys of the fragments, one after another
-- ARGV  1 consumer group  2 consumer  3 id of the entry  4 lane
--       5 lines for the record, or ''
--       6 member of the index that stands for the entry, or '': it was never delayed
--       7 number of delayed entries, then of each the delay in ms, the entry, and the member
--       of the index that stands for it ('': none) with its score
--       next: number of dead letters, then device, reason and entry of each
--       next: number of fragments, then for each its name, its number of keys, its
--       number of arguments, and the arguments
-- Reply {1, what each fragment returned, …}, or {0} when another consumer holds the
--       entry; an error when a key has the wrong type

local stream, dead, record = KEYS[1], KEYS[2], KEYS[3]
local group, consumer, id, lane, lines = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

if #redis.call('XPENDING', stream, group, id, id, 1, consumer) == 0 then return {0} end

local settled = ARGV[6]
local i = 6
local function next_arg() i = i + 1; return ARGV[i] end
local function next_number() return tonumber(next_arg()) end

local k = 3
local function next_key() k = k + 1; return KEYS[k] end

local delayed, letters, calls, index = {}, {}, {}, nil
local delays = next_number()
if delays > 0 or settled ~= '' then index = next_key() end
for n = 1, delays do
  delayed[n] = {set = next_key(), delay = next_number(), entry = next_arg(), member = next_arg(), since = next_arg()}
end
for n = 1, next_number() do letters[n] = {device = next_arg(), reason = next_arg(), entry = next_arg()} end
for n = 1, next_number() do
  local call = {name = next_arg(), keys = {}, args = {}}
  local key_count, arg_count = next_number(), next_number()
  for c = 1, key_count do call.keys[c] = next_key() end
  for a = 1, arg_count do call.args[a] = next_arg() end
  calls[n] = call
end

local wrong
local function exists(key, want)
  local is = redis.call('TYPE', key).ok
  if is ~= 'none' and is ~= want then wrong = 'WRONGTYPE ' .. key .. ' is a ' .. is .. ', not a ' .. want end
  return is ~= 'none'
end
for _, d in ipairs(delayed) do exists(d.set, 'zset') end
if index then
  exists(index, 'zset')
  exists(index .. ':due', 'zset')
end
if #letters > 0 then exists(dead, 'stream') end
local noted = lines ~= '' and exists(record, 'string') -- the record may have expired
for _, call in ipairs(calls) do
  local of = types[call.name]
  for k, key in ipairs(call.keys) do exists(key, of[math.min(k, #of)]) end
end
if wrong then return redis.error_reply(wrong) end

redis.call('XDEL', stream, '0-0') -- no-op: a script whose first write Redis permits at maxmemory may write on
if noted then redis.call('APPEND', record, lines) end
if settled ~= '' then
  redis.call('ZREM', index, settled)
  redis.call('ZREM', index .. ':due', settled)
end
for _, d in ipairs(delayed) do
  local due = due_at(d.set, d.delay)
  redis.call('ZADD', d.set, due, d.entry)
  if d.member ~= '' then
    redis.call('ZADD', index, d.since, d.member)
    redis.call('ZADD', index .. ':due', due, d.member)
  end
end
for _, l in ipairs(letters) do
  redis.call('XADD', dead, '*', 'lane', lane, 'device', l.device, 'reason', l.reason, 'e', l.entry)
end
local reply = {1}
for _, call in ipairs(calls) do
  reply[#reply + 1] = fragments[call.name](call.keys, call.args)
end
redis.call('XDEL', stream, id)
redis.call('XACK', stream, group, id)
return reply
