-- Drops notifications that are too old from a user's list, a few at a time, also
-- when nothing new comes that would drop them.
--
-- KEYS  1 meta  2 notes  3 unread  4 open  5 records  6 trash
-- ARGV  1 oldest: sequence number before which notifications are dropped
--       2 how many at most  3 publish  4 channel  5 now, ms, for tests; or ''
-- Reply {how many were dropped, 1 when there may be more,
--        1 when bodies of deleted conversations are left to purge}

local notes, unread = KEYS[2], KEYS[3]
local old = redis.call('XRANGE', notes, '-', '(' .. ARGV[1], 'COUNT', ARGV[2])
local changed = 0
for _, note in ipairs(old) do
  redis.call('XDEL', notes, note[1])
  changed = changed + redis.call('ZREM', unread, note[2][2])
end
if #old > 0 then
  changed = changed + forget_news(KEYS[4], KEYS[1], unread)
  redis.call('HSET', KEYS[1], 'kept', redis.call('XLEN', notes))
end
local now = ARGV[5] == '' and digits(millis()) or ARGV[5]
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now)
if changed > 0 then publish(ARGV[3], ARGV[4], 'unreads', '0', '0', '-', '') end
return {#old, #old == tonumber(ARGV[2]) and 1 or 0, redis.call('EXISTS', KEYS[6])}
