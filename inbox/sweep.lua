-- Drops notifications that are too old from a user's list, a few at a time. Storing a
-- new one drops them too, but an idle user gets none.
--
-- KEYS  meta, notifications, unread, counted, record_index, trash, conversations; shade,
--       delayed: unless dismissals are off
-- ARGV  keep: microseconds after which notifications are dropped
--       max_notifications: dropped by one call
--       publish_command, channel
--       test_time: microseconds, or '' for Redis' time
--       dismissal: entry of delayed
-- Reply {how many were dropped, 1 when there may be more,
--        1 when messages of deleted conversations are left to purge,
--        time in microseconds,
--        1 when the user may have subjects, 1 when the user has conversations}

local meta, notifications, unread, counted, record_index, trash, conversations, shade, delayed = unpack(KEYS)
local keep, max_notifications, publish_command, channel, test_time, dismissal = unpack(ARGV)

local now = test_time == '' and micros() or tonumber(test_time)
local subjects = redis.call('HSCAN', meta, '0', 'MATCH', 'r:*', 'COUNT', max_notifications)
redis.call('ZREMRANGEBYSCORE', record_index, '-inf', digits(math.floor(now / 1000)))
local old = redis.call('XRANGE', notifications, '-', '(' .. digits(now - keep), 'COUNT', max_notifications)
local changed = 0
if #old > 0 then
  expect('hash', meta)
  expect('zset', unread, counted, delayed)
end
for _, entry in ipairs(old) do
  local seq, id = entry[1], entry[2][2]
  redis.call('XDEL', notifications, seq)
  changed = changed + redis.call('ZREM', unread, id)
end
if #old > 0 then
  changed = changed + drop_stale_news(counted, meta, unread)
  redis.call('HSET', meta, 'kept', redis.call('XLEN', notifications))
end
if changed > 0 then
  tell_screens(shade, delayed, dismissal)
  publish_unreads(publish_command, channel)
end
return {
  #old, #old == tonumber(max_notifications) and 1 or 0, redis.call('EXISTS', trash), now,
  (subjects[1] ~= '0' or #subjects[2] > 0) and 1 or 0, redis.call('EXISTS', conversations),
}
