-- known_age returns how many ms ago a credential was last found to be good, or nil. A clock
-- that has stepped back makes it no younger than now.
--
-- This file comes before the scripts that use it.
local function known_age(known_key, member)
  local at = redis.call('ZSCORE', known_key, member)
  return at and math.max(millis() - tonumber(at), 0)
end
