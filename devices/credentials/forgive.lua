-- Takes back one counted failure.
--
-- Safe to repeat: a repeat after a lost reply takes back one failure too many, which
-- lets one more guess through until the window ends. Nobody who guesses can bring
-- that about, and the counter never falls below none.
--
-- KEYS[1]  counter: failed attempts from this address
--
-- Reply: how many are left.
local failures_key = KEYS[1]

local failures = tonumber(redis.call('GET', failures_key) or 0)
if failures <= 1 then
  redis.call('DEL', failures_key)
  return 0
end
return redis.call('DECR', failures_key)
