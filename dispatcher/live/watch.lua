-- Returns whether a user is online, and adds a watcher of the user.
--
-- KEYS  as presence.lua
-- ARGV  1 watcher  2 TTL of the watcher, ms  3 limit of watchers: the oldest are removed
-- Reply {last seen or 0, online 1 or 0}

if redis.call('HEXISTS', KEYS[4], 'erased') == 1 then return {0, 0} end
expect('zset', KEYS[1])
local last = redis.call('GET', KEYS[2])
local now = millis()

redis.call('ZADD', KEYS[3], now + tonumber(ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[3]))
redis.call('PEXPIRE', KEYS[3], ARGV[2])
local online = redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf') > 0 and 1 or 0
return {tonumber(last or '0'), online}
