-- Takes back one counted failure.
--
-- Safe to repeat: a repeat after a lost reply takes back one failure too many, which
-- lets one more guess through until the window ends. Nobody who guesses can bring
-- that about, and the counter never falls below none.
--
-- KEYS[1]  hash: user to failures, of one address
-- ARGV[1]  the user
--
-- Reply: how many are left.
local failures_key, user = KEYS[1], ARGV[1]

local failures = tonumber(redis.call('HGET', failures_key, user) or 0)
if failures <= 1 then
  redis.call('HDEL', failures_key, user)
  return 0
end
return redis.call('HINCRBY', failures_key, user, -1)
