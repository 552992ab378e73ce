-- Replaces a listed device, if it still is as the caller saw it.
--
-- KEYS[1]  hash: the user's devices
-- ARGV[1]  device id
-- ARGV[2]  the device as JSON, as it was seen
-- ARGV[3]  the device as JSON, as it is to be
--
-- Reply: 1, or 0 when it has changed or is gone
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
