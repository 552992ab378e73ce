-- Stores when a user's token was revoked, and tells the user's sockets.
--
-- KEYS  revoked
-- ARGV  ttl: how long that is kept, in ms
--       publish_command, channel
-- Reply the time, in microseconds

local revoked = KEYS[1]
local ttl, publish_command, channel = unpack(ARGV)

local now = digits(micros())
redis.call('SET', revoked, now, 'PX', ttl)
publish(publish_command, channel, 'revoked', now, '0', '-', '')
return now
