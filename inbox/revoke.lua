-- Revokes what a user's credentials have vouched for, and closes the user's sockets.
--
-- KEYS  revoked
-- ARGV  ttl: how long that is kept, in ms
--       publish_command, channel
-- Reply the time, in microseconds

return revoke(KEYS[1], unpack(ARGV))
