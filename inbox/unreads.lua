-- Counts what is unread or asks for something.
--
-- KEYS  1 meta  2 unread  3 open
-- Reply {messages, seller, news, notifications, buyer, cart, offers seller, offers buyer}

local open = KEYS[3]
local of = {0, 0, 0, 0, 0, 0}
if redis.call('EXISTS', open) == 1 then
  for class = 1, 6 do of[class] = size(open, class) end
end
return {
  of[MESSAGE], of[SELLER], of[NEWS], redis.call('SCARD', KEYS[2]), of[BUYER],
  tonumber(redis.call('HGET', KEYS[1], 'cart') or '0'), of[OFFER_SELLER], of[OFFER_BUYER],
}
