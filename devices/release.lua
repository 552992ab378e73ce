-- Takes a device token away from its owner, if it still is of the generation
-- that the caller saw. What is left remembers the generation for a while.
--
-- Safe to repeat: a repeat after a lost reply finds that generation released, and
-- replies 1 again.
--
-- KEYS[1]  string: the token's owner record
-- ARGV[1]  the user
-- ARGV[2]  the generation
-- ARGV[3]  seconds to remember it
--
-- Reply: 1 when nobody owns that generation (any more), 0 when the record is
-- another one or gone
local owner_key = KEYS[1]
local user, generation, ttl = ARGV[1], ARGV[2], ARGV[3]

local record = redis.call('GET', owner_key)
local released = '0 ' .. generation .. ' 0'
if record == released then
  return 1
end
local owner, current = string.match(record or '', '^(%d+) (%d+) ')
if owner ~= user or current ~= generation then
  return 0
end
redis.call('SET', owner_key, released, 'EX', ttl)
return 1
