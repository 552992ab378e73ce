-- Verifies a credential, and says whether it is known: whether it was right from this
-- address before.
--
-- Safe to repeat.
--
-- KEYS[1]  string: the digest of the user's token
-- KEYS[2]  sorted set: credentials that are known, with the time of their last success
-- KEYS[3]  string: when the user's credentials were last revoked
-- ARGV[1]  the digest of the token that was presented, 32 bytes
-- ARGV[2]  the member of the token and the address in KEYS[2]
-- ARGV[3]  how long a credential is known after a success, in ms
-- ARGV[4]  how old the time of the last success may become before it is renewed, in ms
--
-- Reply: { state, when the user's credentials were last revoked (Unix µs; 0 for never) }.
-- The state is
--   0  the credential is right, and known
--   1  it is right, but not known
--   2  it is wrong, or the user has none
local credential_key, known_key, revoked_key = KEYS[1], KEYS[2], KEYS[3]
local presented, member, life, renewal = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

-- Every byte is compared, whatever the first ones say. A user without a credential is
-- compared with zeros, which are the digest of no token.
local stored = redis.call('GET', credential_key) or string.rep('\0', 32)
local difference = 0
for i = 1, 32 do
  difference = difference + math.abs(string.byte(stored, i) - string.byte(presented, i))
end
if difference ~= 0 then
  return { 2, 0 }
end

local revoked = tonumber(redis.call('GET', revoked_key) or '0')
local age = known_age(known_key, member)
if not age or age >= life then
  return { 1, revoked }
end
if age >= renewal then
  -- A full Redis refuses this; the credential is right all the same.
  redis.pcall('ZADD', known_key, digits(millis()), member)
  redis.pcall('PEXPIRE', known_key, life)
end
return { 0, revoked }
