-- Notes in a sender's copy what the receiver has read.
--
-- KEYS  1 sent
-- ARGV  1 id of the one message, or ''  2 the last id in question
--       3 publish  4 channel  5 frame
-- Reply how many messages are now known to be read

local n
if ARGV[1] ~= '' then
  n = redis.call('ZREM', KEYS[1], ARGV[1])
else
  n = redis.call('ZREMRANGEBYLEX', KEYS[1], '-', '[' .. ARGV[2])
end
if n > 0 then publish(ARGV[3], ARGV[4], 'read', '0', '0', '-', ARGV[5]) end
return n
