-- Adds users to the named users of a broadcast in a partition. Repeating it changes
-- nothing.
--
-- KEYS  1 named users
-- ARGV  1 when they expire, Unix ms  2… members
-- Reply 1

local named, expires = KEYS[1], ARGV[1]

for i = 2, #ARGV do redis.call('ZADD', named, 0, ARGV[i]) end
redis.call('PEXPIREAT', named, expires)
return 1
