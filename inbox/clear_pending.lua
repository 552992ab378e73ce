-- Removes a message from those pending for the second copy of a conversation, and the
-- pointer to them when none is left.
--
-- KEYS  pending, handoffs
-- ARGV  pending_member: or ''
--       pointer: member of handoffs
-- Reply how many are still pending

local pending, handoffs = unpack(KEYS)
local pending_member, pointer = unpack(ARGV)

expect('zset', handoffs)
redis.call('ZREM', pending, pending_member)
local left = redis.call('ZCARD', pending)
if left == 0 then redis.call('ZREM', handoffs, pointer) end
return left
