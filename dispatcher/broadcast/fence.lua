-- Raises the fence of a partition: broadcasters with a lower one can no longer notify
-- its users.
--
-- KEYS  1 walk  2 body (the walk expires with it)
-- ARGV  1 fence
-- Reply {fence, cursor}: the highest fence, and the last user who was reached, or ''

local walk, body = KEYS[1], KEYS[2]
local fence = ARGV[1]

local known = redis.call('HMGET', walk, 'fence', 'cursor')
local highest, cursor = known[1] or '0', known[2] or ''
if tonumber(highest) < tonumber(fence) then
  highest = fence
  redis.call('HSET', walk, 'fence', fence)
  redis.call('PEXPIRE', walk, redis.call('PTTL', body))
end
return {highest, cursor}
