-- Keeps a listed device out of sending, if it is still of the generation seen.
--
-- KEYS[1]  hash: the user's devices
-- ARGV[1]  device id
-- ARGV[2]  generation
-- ARGV[3]  the reason
--
-- Reply: 1, or 0 when the device was registered anew or is gone
local listed = redis.call('HGET', KEYS[1], ARGV[1])
if not listed then
  return 0
end
local device = cjson.decode(listed)
if string.format('%.0f', device.g) ~= ARGV[2] then
  return 0
end
-- The number and the rest stand as they are: cjson would write a large number
-- with an exponent.
redis.call('HSET', KEYS[1], ARGV[1], string.sub(listed, 1, -2) .. ',"s":' .. cjson.encode(ARGV[3]) .. '}')
return 1
