-- Notes up to which frame a person has everything in front of them.
--
-- KEYS  1 meta
-- ARGV  1 sequence number
-- Reply 1 when it was noted, 0 when a later one was

local meta = KEYS[1]
local seen, last = tonumber(redis.call('HGET', meta, 'seen') or '0'), tonumber(redis.call('HGET', meta, 'seq') or '0')
local seq = math.min(tonumber(ARGV[1]), last)
if seq <= seen then return 0 end
redis.call('HSET', meta, 'seen', digits(seq))
return 1
