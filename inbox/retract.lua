-- Takes an event back from one receiver: out of the list and its counters, and from live
-- sockets and screens. What a state has told of a transaction or an offer stays. The record
-- becomes a tombstone: a repeat of the event is a duplicate.
--
-- KEYS  record, meta, notifications, kept_bodies, unread, counted, replay_log, record_index;
--       shade, delayed: unless dismissals are off
-- ARGV  event: under which the record is kept; content: digest of what was sent
--       record_ttl: ms, of a record that is missing because storing had failed
--       publish_command, channel, log_frames, log_ttl: ms
--       test_time: microseconds, or '' for Redis' time
--       dismissal: entry of delayed
-- Reply {1 when it was retracted now, 0 when it had been before or the user was erased,
--        live_error}

local record, meta, notifications, kept_bodies, unread, counted, replay_log, record_index, shade, delayed = unpack(KEYS)
local event, content, record_ttl, publish_command, channel, log_frames, log_ttl, test_time, dismissal = unpack(ARGV)

local text = redis.call('GET', record)
local known = redis.call('HMGET', meta, 'seq', 'accepted', 'cart', 'erased')
if known[4] then return {0, live_error} end
if not text then
  index_record(record_index, record_ttl, event)
  redis.call('SET', record, content .. ' - 0 0 retracted\n', 'PX', record_ttl)
  return {1, live_error}
end
local id, seq, push = string.match(text, '^%S+ (%S+) (%S+) %S+ (%S+)')
if push == 'retracted' or push == 'erased' or string.find(text, '\npush retracted\n', 1, true) then return {0, live_error} end

if id == '-' then -- nothing was stored yet
  redis.call('APPEND', record, 'push retracted\n')
  return {1, live_error}
end
local listed = redis.call('XRANGE', notifications, seq, seq)[1]
if listed and listed[2][2] ~= id then listed = nil end
local logged = redis.call('XRANGE', replay_log, seq, seq)[1]
if logged and logged[2][2] ~= id then logged = nil end
expect('hash', kept_bodies)
expect('zset', unread, counted, delayed)

if listed or logged then
  local now, prev = digits(acceptance(known[1], known[2], test_time)), known[1] or '0'
  log_frame(replay_log, now, prev, 'event', id, '', log_frames, log_ttl) -- first: this write may fail, the others cannot
  if listed then
    redis.call('XDEL', notifications, listed[1])
    redis.call('ZREM', unread, id)
    -- News of a transaction leaves its counter, as when it is read.
    local subject = listed[2][8]
    local state = subject ~= '' and redis.call('HGET', meta, 'r:' .. subject)
    if state and told_by(state) == id and tonumber(redis.call('ZSCORE', counted, subject)) == NEWS then
      redis.call('ZREM', counted, subject)
    end
    redis.call('HSET', meta, 'seq', now, 'kept', redis.call('XLEN', notifications))
  else
    redis.call('XDEL', replay_log, logged[1])
    redis.call('HSET', meta, 'seq', now)
  end
  publish_with_unreads(publish_command, channel, 'event', now, prev, id, '', counted, unread, known[3])
end
redis.call('HDEL', kept_bodies, seq)
tell_screens(shade, delayed, dismissal)
redis.call('APPEND', record, 'push retracted\n')
return {1, live_error}
