-- Renews the leases of the entries that a consumer still holds.
--
-- KEYS  1 stream
-- ARGV  1 group  2 consumer  3… ids
-- Reply how many were renewed

local renewed = 0
for i = 3, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2]) > 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
    renewed = renewed + 1
  end
end
return renewed
