-- Takes or renews the janitor's lease, and stores how far the sweep has come.
--
-- KEYS  1 care
-- ARGV  1 process  2 length of the lease, ms  3 position of the sweep, or '' to keep the stored one
-- Reply {1 when the process holds the lease, else 0, position of the sweep, now, ms}

local lease = KEYS[1]
local process, length, position = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local stored = redis.call('HMGET', lease, 'holder', 'until', 'at')
local holder, expires, at = stored[1], stored[2], stored[3]
if holder and holder ~= process and tonumber(expires) > now then return {0, '', now} end
redis.call('HSET', lease, 'holder', process, 'until', string.format('%.0f', now + length))
if position ~= '' then
  redis.call('HSET', lease, 'at', position)
  return {1, position, now}
end
return {1, at or '', now}
