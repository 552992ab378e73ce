-- Renews the leases of the entries that a consumer still holds.
--
-- KEYS  1 stream
-- ARGV  1 consumer group  2 consumer  3… ids
-- Reply how many were renewed

local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local renewed = 0
for i = 3, #ARGV do
  local id = ARGV[i]
  if #redis.call('XPENDING', stream, group, id, id, 1, consumer) > 0 then
    redis.call('XCLAIM', stream, group, consumer, 0, id, 'JUSTID')
    renewed = renewed + 1
  end
end
return renewed
