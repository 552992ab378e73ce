-- Takes over the entries of consumers that stopped, takes back entries that this consumer
-- holds but never received, and deletes consumers that have been idle for long and hold
-- nothing.
--
-- Only a take-over from another consumer counts as a delivery. An entry that this consumer
-- never received was not worked on: the reply that gave it was lost.
--
-- KEYS  1 stream
-- ARGV  1 consumer group  2 consumer
--       3 idle time after which an entry of another consumer is taken over, ms
--       4 idle time after which this consumer takes an entry of its own back, ms: shorter, so
--         that no other consumer takes over an entry whose reply was lost
--       5 how many at most  6 how long a consumer must have been idle, ms
--       7 Redis time in ms until which entries of others may be taken over; 0: not at all
-- Reply {Redis' clock in ms, then id, times delivered and entry of each}

local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local idle, own_idle, limit, consumer_idle = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local others_until = tonumber(ARGV[7])

local now = millis()
local any = '-1000000000000' -- ms: includes entries whose delivery time lies in the future
local pending = redis.pcall('XPENDING', stream, group, 'IDLE', any, '-', '+', 1000)
if pending.err then return pending end -- NOGROUP: nothing was delivered yet
for _, held in ipairs(pending) do
  if held[3] <= 0 then -- Redis' clock may have stepped back: restart the lease
    redis.call('XCLAIM', stream, group, held[2], 0, held[1], 'JUSTID')
  end
end
local reply = {now}
local function add(message, count)
  if not message then return end -- the entry was dropped
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
