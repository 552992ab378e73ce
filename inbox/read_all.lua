-- Marks every notification as read.
--
-- KEYS  1 unread  2 open
-- ARGV  1 publish  2 channel
-- Reply 1

redis.call('DEL', KEYS[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], NEWS, NEWS)
publish(ARGV[1], ARGV[2], 'unreads', '0', '0', '-', '')
return 1
