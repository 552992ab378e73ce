-- Marks every notification as read.
--
-- KEYS  unread, counted
-- ARGV  publish_command, channel
-- Reply 1

local unread, counted = unpack(KEYS)
local publish_command, channel = unpack(ARGV)

redis.call('ZREMRANGEBYSCORE', counted, NEWS, NEWS) -- first: it fails when the key has another type
redis.call('DEL', unread)
publish_unreads(publish_command, channel)
return 1
