-- Stores the sequence number up to which a user has seen every frame.
--
-- KEYS  meta
-- ARGV  seq: of the frame
-- Reply 1, or 0 when a later frame had been seen before

local meta, seq = KEYS[1], ARGV[1]

local seen, last = tonumber(redis.call('HGET', meta, 'seen') or '0'), tonumber(redis.call('HGET', meta, 'seq') or '0')
local up_to = math.min(tonumber(seq), last)
if up_to <= seen then return 0 end
redis.call('HSET', meta, 'seen', digits(up_to))
return 1
