-- Drops entries of a stream, even when a consumer holds them.
--
-- KEYS  1 stream
-- ARGV  1 consumer group; it may be missing  2… ids
-- Reply how many were dropped

local stream, group = KEYS[1], ARGV[1]
local dropped = 0
for i = 2, #ARGV do
  dropped = dropped + redis.call('XDEL', stream, ARGV[i])
  redis.call('XACK', stream, group, ARGV[i])
end
return dropped
