-- Takes a device off a user's list, unless it was registered again since.
--
-- KEYS[1]  hash: the user's devices
-- ARGV[1]  device id
-- ARGV[2]  token
-- ARGV[3]  the newest generation that may go
--
-- Reply: 1 when it was taken off, else 0
local json = redis.call('HGET', KEYS[1], ARGV[1])
if not json then
  return 0
end
-- The id may have moved on to another token, whose generations say nothing
-- about this one's.
local entry = cjson.decode(json)
if entry.t ~= ARGV[2] or entry.g > tonumber(ARGV[3]) then
  return 0
end
return redis.call('HDEL', KEYS[1], ARGV[1])
