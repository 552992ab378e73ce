-- Takes back what was pending for the second copy of a conversation, and the
-- pointer to it when nothing else is.
--
-- KEYS  1 pending  2 handoffs
-- ARGV  1 what was pending  2 pointer
-- Reply how much is still pending

redis.call('ZREM', KEYS[1], ARGV[1])
local left = redis.call('ZCARD', KEYS[1])
if left == 0 then redis.call('ZREM', KEYS[2], ARGV[2]) end
return left
