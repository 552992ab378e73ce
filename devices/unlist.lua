-- Takes a device off a user's list, unless it was registered again since.
--
-- Safe to repeat: a repeat after a lost reply finds no such device and replies 0. Then
-- Registry.Forget reports that it forgot nothing, and no service is told of the dead
-- device; a reply of 1 would have them told twice whenever two pushes find it dead.
--
-- KEYS[1]  hash: the user's devices
-- ARGV[1]  device id
-- ARGV[2]  token
-- ARGV[3]  the newest generation that may go
--
-- Reply: 1 when it was taken off, else 0
local devices_key = KEYS[1]
local id, token, max_generation = ARGV[1], ARGV[2], tonumber(ARGV[3])

local listed = redis.call('HGET', devices_key, id)
if not listed then
  return 0
end
-- The id may have moved on to the token of another owner record, whose generations say
-- nothing about this one's.
local device = cjson.decode(listed)
if stem(device.t) ~= stem(token) or device.g > max_generation then
  return 0
end
return redis.call('HDEL', devices_key, id)
