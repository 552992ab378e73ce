-- Stores that a credential was found to be good now.
--
-- Safe to repeat.
--
-- KEYS[1]  sorted set: credentials that are known, with the time of their last success
-- ARGV[1]  the member of the token and the address
-- ARGV[2]  how long it is known, in ms
-- ARGV[3]  how many are kept: those of the latest successes
--
-- Reply: 1
local known_key = KEYS[1]
local member, life, most = ARGV[1], ARGV[2], tonumber(ARGV[3])

redis.call('ZADD', known_key, digits(millis()), member)
redis.call('ZREMRANGEBYRANK', known_key, 0, -1 - most)
redis.call('PEXPIRE', known_key, life)
return 1
