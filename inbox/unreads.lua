-- Counts unread notifications and messages, and the resources that ask the user to act.
--
-- KEYS  meta, unread, counted
-- Reply as counts_of

local meta, unread, counted = unpack(KEYS)
return counts_of(counted, unread, redis.call('HGET', meta, 'cart'))
