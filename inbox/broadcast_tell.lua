-- Tells one user of a broadcast through store_notification, and takes the walker
-- there. It is the fragment of a WrappedStore.
--
-- KEYS  those of store_notification.lua, then  text  walk
-- ARGV  those of store_notification.lua, then  fence  from  to (both as step has them)
--       skipped: how many users lie between who are not of the audience
-- Reply what step says

local text, walk = KEYS[#KEYS - 1], KEYS[#KEYS]
local fence, from, to, skipped = ARGV[#ARGV - 3], ARGV[#ARGV - 2], ARGV[#ARGV - 1], ARGV[#ARGV]
local may = step(walk, fence, from, to)
if may ~= 1 then return may end
live_body = redis.call('HGET', text, 'body')
if not live_body then return -1 end -- the broadcast is forgotten
local status = store_notification()[1]
if status < 0 or status == 2 then -- told before with other content, or erased
  skipped = skipped + 1
else
  redis.call('HINCRBY', walk, 'sent', 1)
end
redis.call('HSET', walk, 'cursor', to)
if tonumber(skipped) > 0 then redis.call('HINCRBY', walk, 'skipped', skipped) end
return 1
