-- Takes, renews or gives up the lease on an active broadcast. Taking it from another
-- holder raises the fence.
--
-- KEYS  1 broadcast
-- ARGV  1 holder  2 lease, ms; 0 gives it up  3 current pace, users notified a second
--       4 now, Unix ms, for when the broadcast started
-- Reply fence, or 0 when the broadcast is not active or another one holds the lease

local broadcast = KEYS[1]
local holder, lease, pace, started = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

local known = redis.call('HMGET', broadcast, 'state', 'fence', 'holder', 'until', 'started', 'length')
local state, fence, held_by, held_until = known[1], tonumber(known[2]), known[3], tonumber(known[4])
if state ~= 'active' then return 0 end

local now = millis()
if held_by ~= holder then
  -- If the lease ends later than now + its length, Redis' clock has stepped back: treat it
  -- as ended.
  local whole = tonumber(known[6] or '') or math.huge -- length of the holder's lease
  local held = held_by and now < held_until and held_until <= now + whole
  if held then return 0 end
  if lease == 0 then return 0 end
  fence = fence + 1
  redis.call('HSET', broadcast, 'holder', holder, 'fence', string.format('%.0f', fence))
end
redis.call('HSET', broadcast, 'until', digits(now + lease), 'pace', pace, 'length', digits(lease))
if not known[5] then redis.call('HSET', broadcast, 'started', started) end
return fence
