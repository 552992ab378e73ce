-- Takes or renews the lease on an active broadcast. Whoever takes it from another
-- raises the fence.
--
-- KEYS  1 broadcast
-- ARGV  1 holder  2 lease, ms; 0 gives it up  3 users told a second of late  4 now, ms
-- Reply fence, or 0 when it is not active or another one holds it

local known = redis.call('HMGET', KEYS[1], 'state', 'fence', 'holder', 'until', 'started')
if known[1] ~= 'active' then return 0 end
local fence, now = tonumber(known[2]), millis()
if known[3] ~= ARGV[1] then
  if known[3] and now < tonumber(known[4]) then return 0 end
  if ARGV[2] == '0' then return 0 end
  fence = fence + 1
  redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'fence', string.format('%.0f', fence))
end
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + tonumber(ARGV[2])), 'pace', ARGV[3])
if not known[5] then redis.call('HSET', KEYS[1], 'started', ARGV[4]) end
return fence
