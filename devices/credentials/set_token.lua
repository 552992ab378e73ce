-- Sets the digest of the token that a user signs in with, or removes it. When that changes
-- the token, it also revokes what the token before has vouched for, and forgets from where
-- it was presented: so nobody is let in by a token that is not the user's any more.
--
-- Safe to repeat: the digest does not change then.
--
-- KEYS[1]  string: the digest
-- KEYS[2]  sorted set: credentials that are known
-- KEYS[3]  hash: the user's tombstone, if it has the field erased
-- KEYS[4]  string: when the user's credentials were last revoked
-- ARGV[1]  the digest, 32 bytes; empty to remove it
-- ARGV[2]  how long a revocation is kept, in ms
-- ARGV[3]  publish or spublish
-- ARGV[4]  the channel of the user's live sockets
--
-- Reply: 1, or 0 when the user was erased and a digest was given
local credential_key, known_key, tombstone_key, revoked_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local digest, revocation_life, publish_command, channel = unpack(ARGV)

if redis.call('HEXISTS', tombstone_key, 'erased') == 1 and digest ~= '' then
  return 0
end
local before = redis.call('GET', credential_key)
if before and before ~= digest then
  revoke(revoked_key, revocation_life, publish_command, channel)
end
if before ~= digest then
  redis.call('DEL', known_key)
end
if digest == '' then
  redis.call('DEL', credential_key)
else
  redis.call('SET', credential_key, digest)
end
return 1
