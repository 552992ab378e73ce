-- Replaces a listed device, if it still is as the caller saw it. It is the body of a function,
-- so that other scripts can run it; it writes at most once and does not fail when the key is
-- a hash or missing.
--
-- Safe to repeat: a repeat after a lost reply finds the device as it is to be.
--
-- keys  1 hash: the user's devices
-- args  1 device id  2 the device as JSON, as it was seen  3 the same, as it is to be
-- Returns 1, or 0 when it has changed or is gone
local devices_key = keys[1]
local id, seen, amended = args[1], args[2], args[3]

local listed = redis.call('HGET', devices_key, id)
if listed == amended then
  return 1
end
if listed ~= seen then
  return 0
end
redis.call('HSET', devices_key, id, amended)
return 1
