-- Moves entries that are due from the delayed sets of a partition to its outbox. It works
-- at maxmemory; see doc.go.
--
-- KEYS  1… delayed set and stream of each lane, alternating
-- ARGV  1 how many at most, per lane
-- Reply how many, per lane

local limit = ARGV[1]
local moved = {}
for k = 1, #KEYS, 2 do
  local delayed, stream = KEYS[k], KEYS[k + 1]
  redis.call('ZREM', delayed, '') -- no-op: a script whose first write Redis permits at maxmemory may write on
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', due_now(delayed), 'LIMIT', 0, limit)
  for _, entry in ipairs(due) do
    redis.call('XADD', stream, '*', 'e', entry)
    redis.call('ZREM', delayed, entry) -- last: if an error stops the script, the entry is not lost
  end
  moved[#moved + 1] = #due
end
return moved
