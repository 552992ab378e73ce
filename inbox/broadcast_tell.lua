-- Tells one user of a broadcast through put.lua, which stands before this as the
-- function put, and takes the walker there.
--
-- KEYS  those of put.lua, then  text  walk
-- ARGV  those of put.lua, then  fence  from  to (both as step has them)
--       skipped: how many users lie between who are not of the audience
-- Reply what step says

local text, walk = KEYS[#KEYS - 1], KEYS[#KEYS]
local fence, from, to, skipped = ARGV[#ARGV - 3], ARGV[#ARGV - 2], ARGV[#ARGV - 1], ARGV[#ARGV]
local may = step(walk, fence, from, to)
if may ~= 1 then return may end
shown = redis.call('HGET', text, 'body')
if not shown then return -1 end -- the broadcast is forgotten
local status = put()[1]
if status < 0 or status == 2 then -- told before with other content, or erased
  skipped = skipped + 1
else
  redis.call('HINCRBY', walk, 'sent', 1)
end
redis.call('HSET', walk, 'cursor', to)
if tonumber(skipped) > 0 then redis.call('HINCRBY', walk, 'skipped', skipped) end
return 1
