-- Sets the digest of the token that a user signs in with, unless the user was
-- erased.
--
-- KEYS[1]  string: the digest
-- KEYS[2]  hash: the user's tombstone, if it has the field erased
-- ARGV[1]  the digest, 32 bytes
--
-- Reply: 1, or 0 when the user was erased
if redis.call('HEXISTS', KEYS[2], 'erased') == 1 then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
