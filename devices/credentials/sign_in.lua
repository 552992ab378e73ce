-- Verifies a credential and counts the failure, in one step, so that attempts
-- made at once cannot slip past the limit together.
--
-- Safe to repeat: a right credential changes nothing, and a wrong one is counted once
-- more after a lost reply, which lets one guess fewer through until the window ends.
--
-- KEYS[1]  string: the digest of the user's token
-- KEYS[2]  counter: failed attempts from this address
-- ARGV[1]  the digest of the token that was presented, 32 bytes
-- ARGV[2]  failures allowed in a window
-- ARGV[3]  the window in milliseconds
--
-- Reply: { state, milliseconds until the window ends }. The state is
--   0  the credential is right
--   1  it is wrong, or the user has none; the failure was counted
--   2  too many failures: it was not verified
local credential_key, failures_key = KEYS[1], KEYS[2]
local presented, max_failures, window = ARGV[1], tonumber(ARGV[2]), ARGV[3]

if tonumber(redis.call('GET', failures_key) or 0) >= max_failures then
  return { 2, redis.call('PTTL', failures_key) }
end

-- Every byte is compared, whatever the first ones say. A user without a credential is
-- compared with zeros, which are the digest of no token.
local stored = redis.call('GET', credential_key) or string.rep('\0', 32)
local difference = 0
for i = 1, 32 do
  difference = difference + math.abs(string.byte(stored, i) - string.byte(presented, i))
end
if difference == 0 then
  return { 0, 0 }
end

if redis.call('INCR', failures_key) == 1 then
  redis.call('PEXPIRE', failures_key, window)
end
return { 1, redis.call('PTTL', failures_key) }
