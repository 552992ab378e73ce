-- Takes over the entries of consumers that stopped, takes back those that this consumer
-- holds without knowing it, and deletes consumers that have been gone for long and hold
-- nothing.
--
-- Only what is taken over from others counts as a delivery: an entry that this consumer
-- does not know was never worked on, because the reply that gave it was lost.
--
-- KEYS  1 stream
-- ARGV  1 consumer group  2 consumer
--       3 how long an entry of another consumer must have been left alone, ms
--       4 how long one of this consumer must have been, ms: shorter, so that others do not
--         take what only a reply was lost of
--       5 how many at most  6 how long a consumer must have been idle, ms
--       7 until when entries of others are taken over, by Redis' clock in ms; 0: none
-- Reply {Redis' clock in ms, then id, times delivered and entry of each}

local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local idle, own_idle, limit, consumer_idle = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local others_until = tonumber(ARGV[7])

local now = millis()
local any = '-1000000000000' -- ms: those from the future, too
for _, held in ipairs(redis.call('XPENDING', stream, group, 'IDLE', any, '-', '+', 100)) do
  if held[3] <= 0 then -- Redis' clock may have been set back: the lease begins again
    redis.call('XCLAIM', stream, group, held[2], 0, held[1], 'JUSTID')
  end
end
local reply = {now}
local function add(message, count)
  if not message then return end -- it was dropped
  reply[#reply + 1] = message[1]
  reply[#reply + 1] = count
  reply[#reply + 1] = message[2][2]
end
for _, own in ipairs(redis.call('XPENDING', stream, group, 'IDLE', own_idle, '-', '+', limit, me)) do
  local id, count = own[1], own[4]
  redis.call('XCLAIM', stream, group, me, 0, id, 'JUSTID')
  add(redis.call('XRANGE', stream, id, id)[1], count)
end
if now <= others_until then
  for _, others in ipairs(redis.call('XPENDING', stream, group, 'IDLE', idle, '-', '+', limit)) do
    local id, holder, count = others[1], others[2], others[4]
    if holder ~= me then add(redis.call('XCLAIM', stream, group, me, 0, id)[1], count + 1) end
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
