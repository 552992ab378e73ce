-- Writes the outcomes of outbox entries and removes the entries, those that this consumer
-- still holds. The source of the fragments, which upper packages register, stands before
-- this script: the table `fragments` has a function for each, which gets keys and arguments
-- and returns a number, and the table `types` has the types of each fragment's keys: '' for
-- any.
--
-- It works at maxmemory; see doc.go. Entries share nothing: each is checked before its own
-- first write, and when one fails, the others are settled. An entry that fails stays, and
-- can be settled again.
--
-- KEYS  for each stream: the stream, its dead letters, its index of unsent pushes (see
--       unsent.go), then for each of its entries
--         the event's record, if there are lines for it
--         for each delayed entry the delayed or waiting set that it goes to
--         keys of the fragments, one after another
-- ARGV  1 consumer group  2 consumer  3 number of streams, then of each its lane and the
--       number of its entries, then of each entry
--         id, lines for the record or '', member of the index that stands for the entry or
--         '' (it was never delayed)
--         number of delayed entries, then of each the delay in ms, the entry, and the member
--         of the index that stands for it ('': none) with its score
--         number of dead letters, then device, route, reason and entry of each
--         number of fragments, then for each its name, its number of keys, its number of
--         arguments, and the arguments
-- Reply of each entry {1, what each fragment returned, …}, or {0} when another consumer
--       holds it, or {-1, the text of an error}, such as that of a key of the wrong type.
--       An error that concerns all of Redis is the reply to the whole script

local group, consumer = ARGV[1], ARGV[2]

-- The positions are in a table, because the embedded Redis forgets, after a pcall, what a
-- function assigned to a local outside of it.
local at = {arg = 2, key = 0}
local function next_arg() at.arg = at.arg + 1; return ARGV[at.arg] end
local function next_number() return tonumber(next_arg()) end
local function next_key() at.key = at.key + 1; return KEYS[at.key] end

local function next_call()
  local call = {name = next_arg(), keys = {}, args = {}}
  local key_count, arg_count = next_number(), next_number()
  for n = 1, key_count do call.keys[n] = next_key() end
  for n = 1, arg_count do call.args[n] = next_arg() end
  return call
end

local function next_entry()
  local e = {id = next_arg(), lines = next_arg(), settled = next_arg(), delayed = {}, letters = {}, calls = {}}
  if e.lines ~= '' then e.record = next_key() end
  for n = 1, next_number() do
    e.delayed[n] = {set = next_key(), delay = next_number(), entry = next_arg(), member = next_arg(), since = next_arg()}
  end
  for n = 1, next_number() do e.letters[n] = {device = next_arg(), route = next_arg(), reason = next_arg(), entry = next_arg()} end
  for n = 1, next_number() do e.calls[n] = next_call() end
  return e
end

-- exists reports whether a key exists, and fails when it is of another type.
local is_of = {} -- types of keys that were compared
local function exists(key, want)
  if is_of[key] == want then return true end
  local is = redis.call('TYPE', key).ok
  if is == 'none' then return false end
  if is ~= want then error({err = 'WRONGTYPE ' .. key .. ' is a ' .. is .. ', not a ' .. want}) end
  is_of[key] = want
  return true
end

local function settle(e, lane, dead, index)
  if e.settled ~= '' or #e.delayed > 0 then
    exists(index, 'zset')
    exists(index .. ':due', 'zset')
  end
  for _, d in ipairs(e.delayed) do exists(d.set, 'zset') end
  if #e.letters > 0 then exists(dead, 'stream') end
  for _, call in ipairs(e.calls) do
    local of = types[call.name]
    for n, key in ipairs(call.keys) do
      local want = of[math.min(n, #of)]
      if want ~= '' then exists(key, want) end
    end
  end

  -- The first write fails if the record is no string.
  if e.record and redis.call('APPEND', e.record, e.lines) == #e.lines then
    redis.call('DEL', e.record) -- it had expired
  end
  if e.settled ~= '' then
    redis.call('ZREM', index, e.settled)
    redis.call('ZREM', index .. ':due', e.settled)
  end
  for _, d in ipairs(e.delayed) do
    local due = due_at(d.set, d.delay)
    redis.call('ZADD', d.set, due, d.entry)
    if d.member ~= '' then
      redis.call('ZADD', index, d.since, d.member)
      redis.call('ZADD', index .. ':due', due, d.member)
    end
  end
  for _, l in ipairs(e.letters) do
    redis.call('XADD', dead, '*', 'lane', lane, 'device', l.device, 'route', l.route, 'reason', l.reason, 'e', l.entry)
  end
  local outcome = {1}
  for _, call in ipairs(e.calls) do
    outcome[#outcome + 1] = fragments[call.name](call.keys, call.args)
  end
  return outcome
end

-- A no-op: a script whose first write Redis permits at maxmemory may write on. It fails when
-- Redis takes no writes at all, as a replica.
local probe = redis.pcall('XDEL', KEYS[1], '0-0')
if type(probe) == 'table' and probe.err and not string.find(probe.err, '^WRONGTYPE') then return probe end
local reply = {}
for _ = 1, next_number() do
  local stream, dead, index, lane = next_key(), next_key(), next_key(), next_arg()
  local done = {}
  for _ = 1, next_number() do
    local e = next_entry()
    local outcome = redis.pcall('XPENDING', stream, group, e.id, e.id, 1, consumer)
    if outcome.err then
      outcome = {-1, outcome.err}
    elseif #outcome == 0 then
      outcome = {0}
    else
      local ok, result = pcall(settle, e, lane, dead, index)
      if ok then
        outcome, done[#done + 1] = result, e.id
      else
        outcome = {-1, message_of(result)}
      end
    end
    reply[#reply + 1] = outcome
  end
  if #done > 0 then -- last: an entry whose writing failed stays
    redis.call('XDEL', stream, unpack(done))
    redis.call('XACK', stream, group, unpack(done))
  end
end
return reply
