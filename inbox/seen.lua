-- Notes in a sender's copy what the receiver has read.
--
-- KEYS  1 sent  2 heads
-- ARGV  1 id of the one message, or ''  2 the last id in question
--       3 publish  4 channel  5 frame  6 conversation id
--       7 '1' when nothing is pending for this copy: what it lacks it will not get
-- Reply how many messages are now known to be read, or -1 when this copy has not
--       been given them yet

local newest = ARGV[1] ~= '' and ARGV[1] or ARGV[2]
if ARGV[7] ~= '1' and (redis.call('HGET', KEYS[2], ARGV[6]) or '') < newest then return -1 end
local n
if ARGV[1] ~= '' then
  n = redis.call('ZREM', KEYS[1], ARGV[1])
else
  n = redis.call('ZREMRANGEBYLEX', KEYS[1], '-', '[' .. ARGV[2])
end
if n > 0 then publish(ARGV[3], ARGV[4], 'read', '0', '0', '-', ARGV[5]) end
return n
