-- Records that a user is online in a process, or has left it.
--
-- KEYS  1 online (sorted set: process and number of the user there, scored with the
--         time at which the entry expires, Unix ms)
--       2 last seen (string, Unix ms)
--       3 watchers (sorted set: user, scored with the time at which the entry expires)
--       4 tombstone (hash: it has the field erased when the user was erased)
-- ARGV  1 process and number of the user there  2 TTL of the entry, ms; 0 removes it
--       3 how long ago the user was seen, ms  4 TTL of last seen, ms
-- Reply {last seen, online 1 or 0, watchers…}: watchers only when the user came online
--       or went offline

if redis.call('HEXISTS', KEYS[4], 'erased') == 1 then
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
  return {0, 0}
end
local known = tonumber(redis.call('GET', KEYS[2]) or '0')
expect('zset', KEYS[3])
local now = millis()
local life = tonumber(ARGV[2])

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local before = redis.call('ZCARD', KEYS[1])
if life > 0 then
  redis.call('ZADD', KEYS[1], now + life, ARGV[1])
  if redis.call('PTTL', KEYS[1]) < life then redis.call('PEXPIRE', KEYS[1], life) end
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
local last = now - tonumber(ARGV[3])
if last > known then
  redis.call('SET', KEYS[2], string.format('%.0f', last), 'PX', ARGV[4])
else
  last = known
end
local after = redis.call('ZCARD', KEYS[1])
local online = after > 0 and 1 or 0
if (before > 0) == (after > 0) then return {last, online} end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
return {last, online, unpack(redis.call('ZRANGE', KEYS[3], 0, -1))}
