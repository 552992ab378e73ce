-- Counts unread notifications and messages, and the resources that ask the user to act.
--
-- KEYS  meta, unread, counted
-- ARGV  subject: to look up, or ''
--       test_time: microseconds, or '' for Redis' time
-- Reply {messages, seller's transactions, news, notifications, buyer's transactions,
--        cart items, seller's offers, buyer's offers, what meta holds of the subject or '',
--        time in microseconds}

local meta, unread, counted = unpack(KEYS)
local subject, test_time = ARGV[1], ARGV[2]

local cart, state
if subject == '' then
  cart = redis.call('HGET', meta, 'cart')
else
  local known = redis.call('HMGET', meta, 'cart', 'r:' .. subject)
  cart, state = known[1], known[2]
end
local reply = counts_of(counted, unread, cart)
reply[#reply + 1] = state or ''
reply[#reply + 1] = test_time == '' and micros() or tonumber(test_time)
return reply
