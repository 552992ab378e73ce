-- Keeps an event until it is published. The same event may be kept more than once.
--
-- KEYS  event: what is kept of the event; waiting: of the partition
-- ARGV  part: of the event; content: of the part; member: of waiting
--       at: when it is published, ms
-- Reply 1

local event, waiting = KEYS[1], KEYS[2]
local part, content, member, at = unpack(ARGV)

expect('hash', event)
expect('zset', waiting)
if redis.call('HEXISTS', event, part) == 1 then return 1 end
redis.call('HSET', event, part, content)
redis.call('ZADD', waiting, at, member)
return 1
