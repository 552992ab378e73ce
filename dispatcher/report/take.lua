-- Takes reports that are due, under a lease: they are due again when it ends. It works at
-- maxmemory, as the scripts of the outbox do.
--
-- KEYS  1 stream  2 due
-- ARGV  1 how many at most  2 duration of the lease, ms
-- Reply [id of the entry, age in ms, id, body, …]

local stream, due = KEYS[1], KEYS[2]
local limit, lease = ARGV[1], tonumber(ARGV[2])

redis.call('ZREM', due, '') -- no-op: a script whose first write Redis permits at maxmemory may write on
local now = millis()
local reply = {}
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', due_now(due), 'LIMIT', 0, limit)) do
  local found = redis.call('XRANGE', stream, entry, entry)[1]
  if found then
    redis.call('ZADD', due, due_at(due, lease), entry)
    reply[#reply + 1] = entry
    reply[#reply + 1] = math.max(0, now - tonumber(string.match(entry, '^%d+')))
    reply[#reply + 1] = found[2][2]
    reply[#reply + 1] = found[2][4]
  else
    redis.call('ZREM', due, entry)
  end
end
return reply
