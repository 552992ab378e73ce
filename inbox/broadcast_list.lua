-- Adds users to those of a partition whom a broadcast names. Repeating it changes
-- nothing.
--
-- KEYS  1 list
-- ARGV  1 when it may be forgotten, ms  2… members
-- Reply 1

for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 0, ARGV[i]) end
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
return 1
