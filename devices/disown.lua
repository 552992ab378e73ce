-- Removes the owner record of a device token if it names the user, whatever the
-- generation.
--
-- Safe to repeat: a repeat after a lost reply finds no record. Callers do not use the
-- reply.
--
-- KEYS[1]  string: the token's owner record
-- ARGV[1]  the user
--
-- Reply: 1, or 0 when the user does not own it
local owner_key = KEYS[1]
local user = ARGV[1]

local owner = string.match(redis.call('GET', owner_key) or '', '^(%d+) ')
if owner ~= user then
  return 0
end
return redis.call('DEL', owner_key)
