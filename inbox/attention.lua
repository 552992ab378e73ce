-- Tells whether the receiver of a message has it in front of them already.
--
-- KEYS  1 received  2 record  3 meta
-- ARGV  1 id
-- Reply {1 when it was read, or a socket says that it was seen, else 0,
--        number of unread messages in the conversation}

local paid = 0
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then paid = 1 end
local record, seen = redis.call('GET', KEYS[2]), redis.call('HGET', KEYS[3], 'seen')
local seq = record and string.match(record, '^%S+ %S+ (%S+)')
if seq and seen and tonumber(seen) >= tonumber(seq) then paid = 1 end
return {paid, redis.call('ZCARD', KEYS[1])}
