-- Takes or renews the janitor's lease, and stores how far the sweep has come.
--
-- KEYS  1 care
-- ARGV  1 process  2 length of the lease, ms  3 position of the sweep, or '' to keep the stored one
-- Reply {1 when the process holds the lease, else 0, position of the sweep, now, ms}

local lease = KEYS[1]
local process, length, position = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local now = millis()
local stored = redis.call('HMGET', lease, 'holder', 'until', 'at', 'length')
local holder, expires, at = stored[1], tonumber(stored[2]), stored[3]
-- If the lease ends later than now + its length, Redis' clock has stepped back: treat it as
-- ended.
local whole = tonumber(stored[4] or '') or math.huge -- length of the holder's lease
local held = holder and now < expires and expires <= now + whole
if held and holder ~= process then return {0, '', now} end
redis.call('HDEL', lease, '') -- no-op: a script whose first write Redis permits at maxmemory may write on
redis.call('HSET', lease, 'holder', process, 'until', digits(now + length), 'length', digits(length))
if position ~= '' then
  redis.call('HSET', lease, 'at', position)
  return {1, position, now}
end
return {1, at or '', now}
