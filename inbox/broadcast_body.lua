-- Stores what the users of a partition refer to. Repeating it changes nothing.
--
-- KEYS  1 text
-- ARGV  1 body  2 audience  3 when it may be forgotten, ms
-- Reply 1

redis.call('HSET', KEYS[1], 'body', ARGV[1], 'audience', ARGV[2])
redis.call('PEXPIREAT', KEYS[1], ARGV[3])
return 1
