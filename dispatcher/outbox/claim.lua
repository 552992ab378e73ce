-- Takes over the entries of consumers that stopped, and deletes consumers that have been
-- gone for long and hold nothing.
--
-- KEYS  1 stream
-- ARGV  1 consumer group  2 consumer
--       3 how long an entry must have been left alone, ms  4 how many at most
--       5 how long a consumer must have been idle, ms
-- Reply [id, times delivered, entry, …]

local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local min_idle, limit, consumer_idle = ARGV[3], ARGV[4], tonumber(ARGV[5])

-- Redis shows what was delivered after its present time, before its clock stepped back,
-- as idle for 0 ms until that time comes. It is given the present time, or the entries of
-- a consumer that stopped would wait as much longer; for others this changes nothing.
for _, entry in ipairs(redis.call('XPENDING', stream, group, '-', '+', 1000)) do
  local id, consumer, idle = entry[1], entry[2], entry[3]
  if idle == 0 then redis.call('XCLAIM', stream, group, consumer, 0, id, 'JUSTID') end
end

local claimed = redis.call('XAUTOCLAIM', stream, group, me, min_idle, '0-0', 'COUNT', limit)[2]
local reply = {}
for _, message in ipairs(claimed) do
  local id, fields = message[1], message[2]
  if fields then
    local pending = redis.call('XPENDING', stream, group, id, id, 1)
    reply[#reply + 1] = id
    reply[#reply + 1] = pending[1] and pending[1][4] or 0
    reply[#reply + 1] = fields[2]
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
