-- Counts what is unread or asks for something.
--
-- KEYS  1 meta  2 unread  3 open
-- ARGV  1 a subject to look up, or ''
-- Reply {messages, seller, news, notifications, buyer, cart, offers seller, offers buyer,
--       what meta holds of the subject, if anything}

local open = KEYS[3]
local of = {0, 0, 0, 0, 0, 0}
local total = redis.call('ZCARD', open)
if total > 32 then
  for class = 1, 6 do of[class] = redis.call('ZCOUNT', open, class, class) end
elseif total > 0 then -- one call costs less than six
  local all = redis.call('ZRANGE', open, 0, -1, 'WITHSCORES')
  for i = 2, #all, 2 do
    local class = tonumber(all[i])
    of[class] = of[class] + 1
  end
end
local cart, subject
if ARGV[1] == '' then
  cart = redis.call('HGET', KEYS[1], 'cart')
else
  local known = redis.call('HMGET', KEYS[1], 'cart', 'r:' .. ARGV[1])
  cart, subject = known[1], known[2]
end
return {
  of[MESSAGE], of[SELLER], of[NEWS], redis.call('ZCARD', KEYS[2]), of[BUYER],
  tonumber(cart or '0'), of[OFFER_SELLER], of[OFFER_BUYER], subject or '',
}
