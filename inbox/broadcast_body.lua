-- Stores the body that the notifications of a broadcast refer to, in one partition.
-- Repeating it changes nothing.
--
-- KEYS  1 text
-- ARGV  1 body  2 audience  3 when it expires, Unix ms
-- Reply 1

local text = KEYS[1]
local body, audience, expires = ARGV[1], ARGV[2], ARGV[3]

redis.call('HSET', text, 'body', body, 'audience', audience)
redis.call('PEXPIREAT', text, expires)
return 1
