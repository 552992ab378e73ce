-- Stores one event for one receiver: once, counted, logged, published, enqueued.
--
-- KEYS  1 record  2 meta  3 list  4 notes  5 unread  6 open  7 states  8 log
--       9 devices (of the devices package; without any, nothing is enqueued)
--      10 outbox stream, or the record again when nothing is to be pushed
--      11 tag, or the record again when the tag is the notification's own
-- ARGV  1 id            of the notification
--       2 content       digest of what was sent
--       3 remember      how long the record is kept, ms
--       4 body          JSON object of the notification
--       5 type          enters the list under this type, or '' to be in no list
--       6 keep          how long notifications are kept, ms
--       7 oldest        id before which notifications are dropped
--       8 most          how many notifications are kept
--       9 resource      what the event is about, or ''
--      10 order         of the resource's state, microseconds
--      11 rank          of states with the same order
--      12 class         of the counter that the state enters, 0 for none
--      13 cart          number of items, or ''
--      14 publish       the command that reaches live sockets, with its channel in 15
--      15 channel
--      16 replay        how long the log is kept, ms
--      17 frames        how many frames the log keeps
--      18 push          header of the outbox entry, or ''
--      19 tag's life    ms
-- Reply {status, id, seq}: status 1 stored, 0 stored before (id is the first one's),
--       -1 stored before with other content.

local record, meta, list, notes, unread = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local open, states, log = KEYS[6], KEYS[7], KEYS[8]
local id, body, type, resource = ARGV[1], ARGV[4], ARGV[5], ARGV[9]

local seen = redis.call('HMGET', record, 'content', 'id', 'seq')
if seen[2] then
  if seen[2] == id then return {1, id, seen[3]} end -- our own call, sent again after its answer was lost
  if seen[1] ~= ARGV[2] then return {-1, seen[2], seen[3]} end
  return {0, seen[2], seen[3]}
end

-- The state, unless a newer one is known (guarantee G6).
local order, rank, class = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
if resource ~= '' then
  local newer = true
  local known = redis.call('HGET', states, resource)
  if known then
    local o, r = string.match(known, '^(%d+) (%d+)')
    o, r = tonumber(o), tonumber(r)
    newer = order > o or (order == o and rank > r)
  end
  if newer then
    redis.call('HSET', states, resource, ARGV[10] .. ' ' .. ARGV[11] .. ' ' .. id)
    if class > 0 then
      redis.call('ZADD', open, class, resource)
    else
      redis.call('ZREM', open, resource)
    end
  end
end

if ARGV[13] ~= '' then
  local at = redis.call('HGET', meta, 'cart_at')
  if not at or order >= tonumber(at) then
    redis.call('HSET', meta, 'cart', ARGV[13], 'cart_at', ARGV[10])
  end
end

if type ~= '' then
  redis.call('ZADD', list, 0, id .. ' ' .. type)
  redis.call('HSET', notes, id, resource .. '\n' .. body)
  redis.call('SADD', unread, id)
  local most, total = tonumber(ARGV[8]), redis.call('ZCARD', list)
  -- A few at a time: what one call adds, the next ones remove more than.
  for _, member in ipairs(redis.call('ZRANGE', list, 0, 4)) do
    local old = string.sub(member, 1, 24)
    if total <= most and old >= ARGV[7] then break end
    redis.call('ZREM', list, member)
    drop(old, notes, unread)
    total = total - 1
  end
  redis.call('PEXPIRE', list, ARGV[6])
  redis.call('PEXPIRE', notes, ARGV[6])
  redis.call('PEXPIRE', unread, ARGV[6])
end

-- The sequence number never runs back, not after a failover either.
local last = tonumber(redis.call('HGET', meta, 'seq') or '0')
local seq = digits(math.max(last + 1, micros()))
local prev = digits(last)
redis.call('HSET', meta, 'seq', seq)

local listening = 0
if ARGV[13] == '' then
  redis.call('XADD', log, 'MAXLEN', '~', ARGV[17], seq .. '-0', 'prev', prev, 'id', id, 'body', type == '' and body or '')
  redis.call('PEXPIRE', log, ARGV[16])
  listening = redis.call(ARGV[14], ARGV[15], seq .. ' ' .. prev .. ' ' .. id .. '\n' .. body)
end

local push = 'none'
if ARGV[18] ~= '' and redis.call('EXISTS', KEYS[9]) == 1 then
  redis.call('XADD', KEYS[10], '*', 'e', ARGV[18] .. '\n' .. body)
  push = 'waiting'
  if KEYS[11] ~= record then
    local newest = redis.call('GET', KEYS[11])
    if not newest or newest < id then
      redis.call('SET', KEYS[11], id, 'PX', ARGV[19])
    end
  end
end

redis.call('HSET', record, 'content', ARGV[2], 'id', id, 'seq', seq, 'live', listening, 'push', push)
redis.call('PEXPIRE', record, ARGV[3])
return {1, id, seq}
