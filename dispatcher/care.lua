-- Makes one process at a time the one that takes care of what users keep, and
-- remembers how far it has come.
--
-- KEYS  1 care
-- ARGV  1 process  2 for how long it holds, ms  3 how far it has come, or ''
-- Reply {1 when the process holds it, else 0, how far whoever held it has come, now, ms}

local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local held = redis.call('HMGET', KEYS[1], 'holder', 'until', 'at')
if held[1] and held[1] ~= ARGV[1] and tonumber(held[2]) > now then return {0, '', now} end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'until', string.format('%.0f', now + tonumber(ARGV[2])))
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'at', ARGV[3]) end
return {1, ARGV[3] ~= '' and ARGV[3] or held[3] or '', now}
