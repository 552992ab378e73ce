-- Marks every notification as read.
--
-- KEYS  unread, counted; shade, delayed: unless dismissals are off
-- ARGV  publish_command, channel
--       dismissal: entry of delayed
-- Reply 1

local unread, counted, shade, delayed = unpack(KEYS)
local publish_command, channel, dismissal = unpack(ARGV)

expect('zset', delayed)
redis.call('ZREMRANGEBYSCORE', counted, NEWS, NEWS) -- first: it fails when the key has another type
if redis.call('DEL', unread) == 1 then tell_screens(shade, delayed, dismissal) end
publish_unreads(publish_command, channel)
return 1
