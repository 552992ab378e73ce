-- Says whether a user was erased, and when the user's credentials were last revoked.
--
-- KEYS[1]  hash: the user's tombstone, if it has the field erased
-- KEYS[2]  string: when the user's credentials were last revoked
--
-- Reply: { 1 when the user was erased, else 0; Unix µs, 0 for never }
return { redis.call('HEXISTS', KEYS[1], 'erased'), tonumber(redis.call('GET', KEYS[2]) or '0') }
