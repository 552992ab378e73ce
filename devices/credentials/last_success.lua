-- Says when a credential was last found to be good.
--
-- KEYS[1]  sorted set: credentials that are known, with the time of their last success
-- ARGV[1]  the member of the token and the address
--
-- Reply: how long ago that was, in ms; -1 when it is not known.
return known_age(KEYS[1], ARGV[1]) or -1
