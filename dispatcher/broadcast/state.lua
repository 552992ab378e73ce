-- Changes the state of a broadcast. Every state but `active` raises the fence and ends
-- the lease.
--
-- KEYS  1 broadcast
-- ARGV  1 new state  2 states that it may follow, each between spaces
--       3 fence that the caller must hold, or '': any
--       4… fields and values to set with it
-- Reply {status, state, fence}: status 1 changed, 0 it was in that state already, -1
--       its state or its fence does not allow it, -2 there is no such broadcast

local broadcast = KEYS[1]
local to, allowed, held = ARGV[1], ARGV[2], ARGV[3]

local known = redis.call('HMGET', broadcast, 'state', 'fence')
local state, fence = known[1], known[2]
if not state then return {-2, '', '0'} end
if state == to then return {0, state, fence} end
if not string.find(allowed, ' ' .. state .. ' ', 1, true) or (held ~= '' and held ~= fence) then
  return {-1, state, fence}
end
if to ~= 'active' then
  fence = string.format('%.0f', tonumber(fence) + 1)
  redis.call('HDEL', broadcast, 'holder', 'until')
end
redis.call('HSET', broadcast, 'state', to, 'fence', fence)
for i = 4, #ARGV, 2 do redis.call('HSET', broadcast, ARGV[i], ARGV[i + 1]) end
return {1, to, fence}
