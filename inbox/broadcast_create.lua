-- Begins to keep a broadcast, which counts as accepted once its state is no longer
-- `preparing`.
--
-- KEYS  1 broadcast
-- ARGV  1 digest of what was sent  2 definition  3 when it may be forgotten, ms
-- Reply 1 it is to be prepared (once more: what it says of its times may have changed), 0 it was accepted before, -1 with other content

local known = redis.call('HMGET', KEYS[1], 'content', 'state')
if known[1] and known[1] ~= ARGV[1] then return -1 end
if known[1] and known[2] ~= 'preparing' then return 0 end
redis.call('HSET', KEYS[1], 'content', ARGV[1], 'definition', ARGV[2], 'state', 'preparing', 'fence', 0)
redis.call('PEXPIREAT', KEYS[1], ARGV[3])
return 1
