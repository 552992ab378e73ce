-- Keeps a listed device out of sending, if it is still of the generation seen.
--
-- Safe to repeat: a device that is suspended already stays as it is.
--
-- KEYS[1]  hash: the user's devices
-- ARGV[1]  device id
-- ARGV[2]  generation
-- ARGV[3]  the reason
--
-- Reply: 1, or 0 when the device was registered anew or is gone
local devices_key = KEYS[1]
local id, generation, reason = ARGV[1], ARGV[2], ARGV[3]

local listed = redis.call('HGET', devices_key, id)
if not listed then
  return 0
end
local device = cjson.decode(listed)
if string.format('%.0f', device.g) ~= generation then
  return 0
end
if device.s then
  return 1
end
-- The generation and the other members are copied as text: cjson would write a large number
-- with an exponent.
redis.call('HSET', devices_key, id, string.sub(listed, 1, -2) .. ',"s":' .. cjson.encode(reason) .. '}')
return 1
