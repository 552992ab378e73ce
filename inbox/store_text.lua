-- Stores the text of a broadcast in a partition. Repeating it changes nothing.
--
-- KEYS  text
-- ARGV  body, audience
--       expires: Unix ms
-- Reply 1

local text = KEYS[1]
local body, audience, expires = unpack(ARGV)

redis.call('HSET', text, 'body', body, 'audience', audience)
redis.call('PEXPIREAT', text, expires)
return 1
