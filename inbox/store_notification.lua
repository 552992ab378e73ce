-- Stores one event for one receiver, once: the notification, its counters, the frame
-- for live sockets and the outbox entry.
--
-- KEYS  record, meta, notifications, unread, counted, log
--       devices: of the devices package; without any nothing is enqueued
--       outbox: a stream, or the record again when nothing is to be pushed
--       contacts, recent_contacts
--       users: of the partition
--       record_index
-- ARGV  id_suffix: last 11 digits of the notification's id
--       content: digest of what was sent
--       record_ttl: ms
--       body: JSON object, or a reference to a broadcast's text
--       listed_type: the type under which it enters the list, or '' for no list
--       list_ttl: ms for which an idle user's notifications are kept
--       keep: microseconds after which notifications are dropped
--       max_notifications: kept
--       subject: what the event is about, or ''
--       order: of the state, microseconds; '' for the time of acceptance
--       rank: of states with the same order; 0 when there is no state
--       counter: that the state enters, 0 for none
--       cart: number of items, or ''
--       publish_command, channel
--       log_ttl: ms; log_frames: kept
--       push_header: of the outbox entry, up to the notification's id; or ''
--      ttl, retry_for: how long the push is of use, and how long it is retried, ms
--       day: its length in microseconds; expiries are renewed once a day
--       test_time: microseconds, or '' for Redis' time
--       contact_field: of contacts, or '' for none; contact: its value
--       max_contacts: kept
--       user_member: of users
--       event: member of record_index
--       quiet: '1' when the event moves counters and is shown to nobody
-- Reply {status, id, seq, live_error}: status 1 stored, 0 stored before (id is the first one's),
--       -1 stored before with other content, 2 dropped because the user was erased;
--       live_error is as in common.lua

local record, meta, notifications, unread, counted, log, devices, outbox, contacts,
  recent_contacts, users, record_index = unpack(KEYS, 1, 12)
local id_suffix, content, record_ttl, body, listed_type, list_ttl, keep,
  max_notifications, subject, order, rank, counter, cart, publish_command, channel,
  log_ttl, log_frames, push_header, ttl, retry_for, day, test_time, contact_field, contact,
  max_contacts, user_member, event, quiet = unpack(ARGV, 1, 28)
local shown = cart == '' and quiet ~= '1'

local stored = redis.call('GET', record)
if stored then
  local stored_content, id, seq = string.match(stored, '^(%S*) (%S+) (%S+)')
  if string.sub(id, 14) == id_suffix then return {1, id, seq, live_error} end -- this call, sent again after its answer was lost
  return {stored_content == content and 0 or -1, id, seq, live_error}
end

local state_field = subject == '' and 'cart_at' or 'r:' .. subject
local known = redis.call('HMGET', meta, 'seq', 'accepted', 'day', state_field, 'kept', 'erased', 'cart')
local last_seq, last_day, last_state, length, erased = known[1], known[3], known[4], known[5], known[6]
local now = acceptance(last_seq, known[2], test_time)
local seq, prev, today = digits(now), last_seq or '0', digits(math.floor(now / day))
local id = string.format('%08x%05x', math.floor(now / 1000000), now % 1000000) .. id_suffix
if order == '' then order = seq end
local changes = {} -- fields and values of meta

expect('zset', record_index)
if erased then -- only the record is kept: services may ask what became of the event
  redis.call('SET', record, content .. ' ' .. id .. ' ' .. seq .. ' 0 erased\n', 'PX', record_ttl)
  return {2, id, seq, live_error}
end

-- The state counts unless a newer one is known (guarantee G6). A notification whose
-- state is late is stored and not pushed, and is not the newest about its subject.
local last_order, last_rank, told, newest = '0', '0', '-', id
if subject ~= '' and last_state then
  last_order, last_rank, told, newest = string.match(last_state, '^(%S+) (%S+) (%S+) (%S+)')
end
local o, r, lo, lr = tonumber(order), tonumber(rank), tonumber(last_order), tonumber(last_rank)
local same = o == lo and r == lr -- it is pushed again, but counted once
local late = subject ~= '' and r > 0 and not same and (o < lo or (o == lo and r < lr))

-- Everything that may fail comes before the second write. The first write goes to the list
-- or to the log.
local pushed = push_header ~= '' and redis.call('EXISTS', devices) == 1
if subject ~= '' or listed_type ~= '' or shown then expect('zset', counted, unread) end
if not last_seq then expect('zset', users) end
if pushed then expect('stream', outbox) end
if contact_field ~= '' then
  expect('hash', contacts)
  expect('zset', recent_contacts)
end
if listed_type ~= '' then
  redis.call('XADD', notifications, seq .. '-0', 'i', id, 'p', prev, 't', listed_type, 'r', subject, 'b', body)
elseif shown then
  log_frame(log, seq, prev, 'event', id, body, log_frames, log_ttl)
end

if subject ~= '' then
  if not late and push_header ~= '' then newest = id end -- only a push replaces another one on the screen
  if r > 0 and not late and not same then
    last_order, last_rank, told = order, rank, id
    if contact_field ~= '' then
      redis.call('HSET', contacts, contact_field, contact)
      redis.call('ZADD', recent_contacts, order, contact_field)
      if redis.call('ZCARD', recent_contacts) > tonumber(max_contacts) then
        redis.call('HDEL', contacts, redis.call('ZPOPMIN', recent_contacts)[1])
      end
    end
    if counter ~= '0' then
      redis.call('ZADD', counted, counter, subject)
    elseif last_state then
      redis.call('ZREM', counted, subject)
    end
  elseif same and r > 0 and counter ~= '0' and
    (tonumber(counter) ~= NEWS or redis.call('ZSCORE', unread, told)) then
    -- The first event may not have said who is seller and who is buyer. News that was
    -- read stays read.
    redis.call('ZADD', counted, 'NX', counter, subject)
  end
  changes[1], changes[2] = 'r:' .. subject, last_order .. ' ' .. last_rank .. ' ' .. told .. ' ' .. newest
elseif cart ~= '' and tonumber(order) >= tonumber(last_state or '0') then
  changes[1], changes[2], changes[3], changes[4] = 'cart', cart, 'cart_at', order
end

local trimmed = false
if listed_type ~= '' then
  redis.call('ZADD', unread, seq, id)
  local kept = tonumber(length or '0') + 1
  if kept > tonumber(max_notifications) + 32 or last_day ~= today then -- 32: trim several at a time, and seldom
    redis.call('XTRIM', notifications, 'MAXLEN', max_notifications)
    redis.call('XTRIM', notifications, 'MINID', digits(now - keep))
    local oldest = redis.call('XRANGE', notifications, '-', '+', 'COUNT', 1)[1]
    redis.call('ZREMRANGEBYSCORE', unread, '-inf', oldest and '(' .. string.match(oldest[1], '^%d+') or '+inf')
    redis.call('PEXPIRE', notifications, list_ttl)
    redis.call('PEXPIRE', unread, list_ttl)
    changes[#changes + 1], changes[#changes + 2] = 'day', today
    kept, trimmed = redis.call('XLEN', notifications), true
  end
  changes[#changes + 1], changes[#changes + 2] = 'kept', kept
end
-- A frame that is in no log takes no sequence number.
changes[#changes + 1], changes[#changes + 2] = shown and 'seq' or 'accepted', seq
redis.call('HSET', meta, unpack(changes))
if trimmed then drop_stale_news(counted, meta, unread) end
if not last_seq then redis.call('ZADD', users, 0, user_member) end

local listening = 0
if shown then
  listening = publish(publish_command, channel, 'event', seq, prev, id, live_body or body, frame_unreads(publish_command, channel, counted, unread, known[7]))
else
  publish_unreads(publish_command, channel)
end
local push = 'none'
if push_header ~= '' and late then
  push = 'superseded'
elseif pushed then
  redis.call('XADD', outbox, '*', 'e', push_header .. id .. '"' .. lifetime(now, ttl, retry_for) .. '}\n' .. body)
  push = 'waiting'
end
redis.call('SET', record, content .. ' ' .. id .. ' ' .. seq .. ' ' .. listening .. ' ' .. push .. '\n', 'PX', record_ttl)
index_record(record_index, record_ttl, event)
return {1, id, seq, live_error}
