-- Stores one event for one receiver: once, counted, logged, published, enqueued.
--
-- KEYS  1 record  2 meta  3 notes  4 unread  5 open  6 log
--       7 devices (of the devices package; without any, nothing is enqueued)
--       8 outbox stream, or the record again when nothing is to be pushed
--       9 contacts  10 recent contacts  11 users of the partition  12 records
-- ARGV  1 suffix        last 11 digits of the notification's id
--       2 content       digest of what was sent
--       3 remember      how long the record is kept, ms
--       4 body          JSON object of the notification, or a reference to a broadcast's
--       5 type          enters the list under this type, or '' to be in no list
--       6 keep          how long an idle user's notifications are kept, ms
--       7 oldest        sequence number before which notifications are dropped
--       8 most          how many notifications are kept
--       9 subject       what the event is about, or ''
--      10 order         of the subject's state, microseconds
--      11 rank          of states with the same order; 0 when there is no state
--      12 class         of the counter that the state enters, 0 for none
--      13 cart          number of items, or ''
--      14 publish       the command that reaches live sockets, with its channel in 15
--      15 channel
--      16 replay        how long the log is kept, ms
--      17 frames        how many frames the log keeps
--      18 push          header of the outbox entry up to the notification's id, or ''
--      19 day           changes when expiries are to be renewed
--      20 now           microseconds, for tests; or '': Redis' time
--      21 contact       field of contacts, or '' for none
--      22 with          what contacts keeps of it
--      23 contacts      how many are kept
--      24 user          member of users
--      25 event         member of records
--      26 quiet         '1' when the event moves counters and tells nobody
-- A state that a newer one has overtaken is kept, but not pushed.
-- Reply {status, id, seq}: status 1 stored, 0 stored before (id is the first one's),
--       -1 stored before with other content, 2 dropped because the user was erased.

local record, meta, notes = KEYS[1], KEYS[2], KEYS[3]
local body, type, subject, cart = ARGV[4], ARGV[5], ARGV[9], ARGV[13]
local told_to_nobody = cart ~= '' or ARGV[26] == '1'

local seen = redis.call('GET', record)
if seen then
  local content, id, seq = string.match(seen, '^(%S*) (%S+) (%S+)')
  if string.sub(id, 14) == ARGV[1] then return {1, id, seq} end -- our own call, sent again after its answer was lost
  return {content == ARGV[2] and 0 or -1, id, seq}
end

local known = redis.call('HMGET', meta, 'seq', 'day', subject == '' and 'cart_at' or 'r:' .. subject, 'kept', 'erased')
local last = tonumber(known[1] or '0')
local now = next_seq(last, ARGV[20])
local seq, prev = digits(now), digits(last)
local id = string.format('%08x%05x', math.floor(now / 1000000), now % 1000000) .. ARGV[1]
local set = {}

if known[5] then -- what became of the event can be asked; nothing else is kept
  redis.call('SET', record, ARGV[2] .. ' ' .. id .. ' ' .. seq .. ' 0 erased\n', 'PX', ARGV[3])
  return {2, id, seq}
end

-- The state, unless a newer one is known (guarantee G6); and what is the newest
-- notification about the subject, which a state that comes late is not.
local late = false
if subject ~= '' then
  local order, rank, told, newest = '0', '0', '-', id
  if known[3] then order, rank, told, newest = string.match(known[3], '^(%S+) (%S+) (%S+) (%S+)') end
  local o, r = tonumber(ARGV[10]), tonumber(ARGV[11])
  local same = o == tonumber(order) and r == tonumber(rank) -- told again: it is pushed, but counted once
  late = r > 0 and not same and (o < tonumber(order) or (o == tonumber(order) and r < tonumber(rank)))
  if not late and ARGV[18] ~= '' then newest = id end -- what is not pushed takes no place on the screen
  if r > 0 and not late and not same then
    order, rank, told = ARGV[10], ARGV[11], id
    if ARGV[21] ~= '' then
      redis.call('HSET', KEYS[9], ARGV[21], ARGV[22])
      redis.call('ZADD', KEYS[10], order, ARGV[21])
      if redis.call('ZCARD', KEYS[10]) > tonumber(ARGV[23]) then
        redis.call('HDEL', KEYS[9], redis.call('ZPOPMIN', KEYS[10])[1])
      end
    end
    if ARGV[12] ~= '0' then
      redis.call('ZADD', KEYS[5], ARGV[12], subject)
    elseif known[3] then
      redis.call('ZREM', KEYS[5], subject)
    end
  elseif same and r > 0 and ARGV[12] ~= '0' and
    (tonumber(ARGV[12]) ~= NEWS or redis.call('ZSCORE', KEYS[4], told)) then
    -- The first one may not have said who is who. News that was read stays read.
    redis.call('ZADD', KEYS[5], 'NX', ARGV[12], subject)
  end
  set[1], set[2] = 'r:' .. subject, order .. ' ' .. rank .. ' ' .. told .. ' ' .. newest
elseif cart ~= '' and tonumber(ARGV[10]) >= tonumber(known[3] or '0') then
  set[1], set[2], set[3], set[4] = 'cart', cart, 'cart_at', ARGV[10]
end

local trimmed = false
if type ~= '' then
  redis.call('XADD', notes, seq .. '-0', 'i', id, 'p', prev, 't', type, 'r', subject, 'b', body)
  redis.call('ZADD', KEYS[4], seq, id)
  local kept = tonumber(known[4] or '0') + 1
  -- Many at a time, but seldom.
  if kept > tonumber(ARGV[8]) + 32 or known[2] ~= ARGV[19] then
    redis.call('XTRIM', notes, 'MAXLEN', ARGV[8])
    redis.call('XTRIM', notes, 'MINID', ARGV[7])
    local oldest = redis.call('XRANGE', notes, '-', '+', 'COUNT', 1)[1]
    redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', oldest and '(' .. string.match(oldest[1], '^%d+') or '+inf')
    redis.call('PEXPIRE', notes, ARGV[6])
    redis.call('PEXPIRE', KEYS[4], ARGV[6])
    set[#set + 1], set[#set + 2] = 'day', ARGV[19]
    kept, trimmed = redis.call('XLEN', notes), true
  end
  set[#set + 1], set[#set + 2] = 'kept', kept
elseif not told_to_nobody then
  log_frame(KEYS[6], seq, prev, 'event', id, body, ARGV[17], ARGV[16])
end
if not told_to_nobody then -- what is in no log takes no number
  set[#set + 1], set[#set + 2] = 'seq', seq
end
if #set > 0 then redis.call('HSET', meta, unpack(set)) end
if trimmed then forget_news(KEYS[5], meta, KEYS[4]) end
if not known[1] then redis.call('ZADD', KEYS[11], 0, ARGV[24]) end

local listening = 0
if not told_to_nobody then
  listening = publish(ARGV[14], ARGV[15], 'event', seq, prev, id, live_body or body)
else
  publish(ARGV[14], ARGV[15], 'unreads', '0', '0', '-', '')
end
local push = 'none'
if ARGV[18] ~= '' and late then
  push = 'superseded'
elseif ARGV[18] ~= '' and redis.call('EXISTS', KEYS[7]) == 1 then
  redis.call('XADD', KEYS[8], '*', 'e', ARGV[18] .. id .. '"}\n' .. body)
  push = 'waiting'
end
redis.call('SET', record, ARGV[2] .. ' ' .. id .. ' ' .. seq .. ' ' .. listening .. ' ' .. push .. '\n', 'PX', ARGV[3])
remember_record(KEYS[12], ARGV[3], ARGV[25])
return {1, id, seq}
