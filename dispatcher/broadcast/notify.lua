-- Stores a broadcast's notification for one user and moves the cursor to that user. The
-- storing script of the inbox stands before this as the function store_notification, and
-- so does may_step.lua.
--
-- KEYS  those of the storing script, then  body  walk
-- ARGV  those of the storing script, then  fence  from  to (as may_step has them)
--       skipped: how many users between them are not in the audience
-- Reply what may_step returns

local body, walk = KEYS[#KEYS - 1], KEYS[#KEYS]
local fence, from, to, skipped = ARGV[#ARGV - 3], ARGV[#ARGV - 2], ARGV[#ARGV - 1], tonumber(ARGV[#ARGV])

local may, sent, skipped_before = may_step(walk, fence, from, to)
if may ~= 1 then return may end
live_body = redis.call('HGET', body, 'body') -- live sockets get it in place of the reference
if not live_body then return -1 end -- the broadcast has expired
local status = store_notification()[1]
if status < 0 or status == 2 then -- stored before with other content, or the user was erased
  skipped = skipped + 1
else
  sent = sent + 1
end
redis.call('HSET', walk, 'cursor', to, 'sent', digits(sent), 'skipped', digits(skipped_before + skipped))
return 1
