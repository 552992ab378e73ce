-- Sets the digest of the token that a user signs in with, unless the user was
-- erased.
--
-- Safe to repeat: it sets the same digest.
--
-- KEYS[1]  string: the digest
-- KEYS[2]  hash: the user's tombstone, if it has the field erased
-- ARGV[1]  the digest, 32 bytes
--
-- Reply: 1, or 0 when the user was erased
local credential_key, tombstone_key = KEYS[1], KEYS[2]
local digest = ARGV[1]

if redis.call('HEXISTS', tombstone_key, 'erased') == 1 then
  return 0
end
redis.call('SET', credential_key, digest)
return 1
