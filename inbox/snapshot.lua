-- Reads what a live socket is told when it connects.
--
-- KEYS  meta, unread, counted, profile, revoked
-- Reply {the counts in the order of counts_of, the last sequence number, language of the
--        profile, time of the last revocation}; '' for what is not set

local meta, unread, counted, profile, revoked = unpack(KEYS)
local known = redis.call('HMGET', meta, 'cart', 'seq')
local reply = counts_of(counted, unread, known[1])
reply[#reply + 1] = known[2] or ''
reply[#reply + 1] = redis.call('HGET', profile, 'locale') or ''
reply[#reply + 1] = redis.call('GET', revoked) or ''
return reply
