-- Marks every notification as read.
--
-- KEYS  1 unread  2 open
-- Reply 1

redis.call('DEL', KEYS[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], NEWS, NEWS)
return 1
