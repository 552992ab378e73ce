-- Takes back one counted failure.
--
-- KEYS[1]  counter: failed attempts from this address
--
-- Reply: how many are left.
local failures = tonumber(redis.call('GET', KEYS[1]) or 0)
if failures <= 1 then
  redis.call('DEL', KEYS[1])
  return 0
end
return redis.call('DECR', KEYS[1])
