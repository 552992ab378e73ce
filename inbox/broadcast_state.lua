-- Changes the state of a broadcast. A state in which nobody walks raises the fence
-- and takes the lease away.
--
-- KEYS  1 broadcast
-- ARGV  1 new state  2 states that it may follow, each between spaces
--       3 fence that the caller must hold, or ''
--       4… fields and values to set with it
-- Reply {status, state, fence}: status 1 changed, 0 it was so already, -1 the state
--       or the fence does not allow it, -2 there is no such broadcast

local known = redis.call('HMGET', KEYS[1], 'state', 'fence')
local state, fence = known[1], known[2]
if not state then return {-2, '', '0'} end
if state == ARGV[1] then return {0, state, fence} end
if not string.find(ARGV[2], ' ' .. state .. ' ', 1, true) or (ARGV[3] ~= '' and ARGV[3] ~= fence) then
  return {-1, state, fence}
end
if ARGV[1] ~= 'active' then
  fence = string.format('%.0f', tonumber(fence) + 1)
  redis.call('HDEL', KEYS[1], 'holder', 'until')
end
redis.call('HSET', KEYS[1], 'state', ARGV[1], 'fence', fence)
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return {1, ARGV[1], fence}
