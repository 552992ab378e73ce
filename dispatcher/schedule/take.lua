-- Takes events that are due, under a lease: they are taken again when it ends. An event is
-- due by Redis' clock; leases have a clock of their own, which runs on when Redis' clock
-- steps back.
--
-- KEYS  waiting, taken
-- ARGV  limit: how many at most; lease: ms
-- Reply the members

local waiting, taken = KEYS[1], KEYS[2]
local limit, lease = tonumber(ARGV[1]), tonumber(ARGV[2])

redis.call('ZREM', waiting, '') -- no-op: a script whose first write Redis permits at maxmemory may write on
local members = redis.call('ZRANGEBYSCORE', taken, '-inf', due_now(taken), 'LIMIT', 0, limit)
for _, member in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', digits(millis()), 'LIMIT', 0, limit - #members)) do
  members[#members + 1] = member
end
for _, member in ipairs(members) do
  redis.call('ZADD', taken, due_at(taken, lease), member)
  redis.call('ZREM', waiting, member) -- last: if an error stops the script, the event is not lost
end
return members
