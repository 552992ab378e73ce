-- Lends reports that are due to a process: the others see them again when the lease
-- is over.
--
-- KEYS  1 stream  2 due
-- ARGV  1 how many at most  2 lease, ms
-- Reply [id of the entry, age in ms, id, body, …]

local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local reply = {}
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[1])) do
  local found = redis.call('XRANGE', KEYS[1], entry, entry)[1]
  if found then
    redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[2])), entry)
    reply[#reply + 1] = entry
    reply[#reply + 1] = math.max(0, now - tonumber(string.match(entry, '^%d+')))
    reply[#reply + 1] = found[2][2]
    reply[#reply + 1] = found[2][4]
  else
    redis.call('ZREM', KEYS[2], entry)
  end
end
return reply
