-- Replaces a listed device, if it still is as the caller saw it.
--
-- Safe to repeat: a repeat after a lost reply finds the device as it is to be.
--
-- KEYS[1]  hash: the user's devices
-- ARGV[1]  device id
-- ARGV[2]  the device as JSON, as it was seen
-- ARGV[3]  the device as JSON, as it is to be
--
-- Reply: 1, or 0 when it has changed or is gone
local devices_key = KEYS[1]
local id, seen, amended = ARGV[1], ARGV[2], ARGV[3]

local listed = redis.call('HGET', devices_key, id)
if listed == amended then
  return 1
end
if listed ~= seen then
  return 0
end
redis.call('HSET', devices_key, id, amended)
return 1
