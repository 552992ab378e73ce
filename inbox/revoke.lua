-- Notes that a user's token is not good any more, and tells the user's sockets.
--
-- KEYS  1 revoked
-- ARGV  1 for how long it is remembered, ms  2 publish  3 channel
-- Reply the moment

local t = redis.call('TIME')
local at = string.format('%.0f', tonumber(t[1]) * 1000000 + tonumber(t[2]))
redis.call('SET', KEYS[1], at, 'PX', ARGV[1])
redis.call(ARGV[2], ARGV[3], 'revoked ' .. at .. ' 0 -\n')
return at
