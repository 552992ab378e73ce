-- Forgets who owns a device token, if a user does, whatever the generation.
--
-- KEYS[1]  string: the token's owner record
-- ARGV[1]  the user
--
-- Reply: 1, or 0 when the user does not own it
local user = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) ')
if user ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
