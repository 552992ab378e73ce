-- Takes over the entries of consumers that stopped, takes back those that this consumer
-- holds without knowing it, and deletes consumers that have been gone for long and hold
-- nothing.
--
-- Only what is taken over from others counts as a delivery: an entry that this consumer
-- does not know was never worked on, because the reply that gave it was lost.
--
-- KEYS  1 stream
-- ARGV  1 consumer group  2 consumer
--       3 how long an entry must have been left alone, ms  4 how many at most
--       5 how long a consumer must have been idle, ms
--       6 until when entries of others are taken over, by Redis' clock in ms; 0: none
-- Reply {Redis' clock in ms, then id, times delivered and entry of each}

local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local min_idle, limit, consumer_idle = ARGV[3], ARGV[4], tonumber(ARGV[5])
local others_until = tonumber(ARGV[6])

local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local left_alone
if now <= others_until then
  left_alone = redis.call('XPENDING', stream, group, 'IDLE', min_idle, '-', '+', limit)
else
  left_alone = redis.call('XPENDING', stream, group, 'IDLE', min_idle, '-', '+', limit, me)
end
local reply = {now}
for _, pending in ipairs(left_alone) do
  local id, holder, count = pending[1], pending[2], pending[4]
  local found
  if holder == me then
    redis.call('XCLAIM', stream, group, me, 0, id, 'JUSTID')
    found = redis.call('XRANGE', stream, id, id)[1]
  else
    found = redis.call('XCLAIM', stream, group, me, 0, id)[1]
    count = count + 1
  end
  if found then -- it may have been dropped
    reply[#reply + 1] = id
    reply[#reply + 1] = count
    reply[#reply + 1] = found[2][2]
  end
end
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local of = {}
  for i = 1, #consumer, 2 do of[consumer[i]] = consumer[i + 1] end
  if of.pending == 0 and of.idle > consumer_idle and of.name ~= me then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, of.name)
  end
end
return reply
