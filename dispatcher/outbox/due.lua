-- Moves entries from the delayed and waiting sets of a partition to its outbox: those that
-- are due, or the first ones of a set whose entries need not wait any more. The sets of a
-- stream take turns, so that none keeps the others waiting. It works at maxmemory; see
-- doc.go.
--
-- KEYS  for each lane: the stream, then its sets
-- ARGV  1 how many at most, per lane  2 number of sets of each lane
--       3… for each set of a lane: 1 when all its entries may move, 0 when only those that
--          are due
-- Reply how many, per lane

local limit, sets = tonumber(ARGV[1]), tonumber(ARGV[2])

redis.call('ZREM', KEYS[2], '') -- no-op: a script whose first write Redis permits at maxmemory may write on

local function first(set, all)
  local now = due_now(set) -- always: it also keeps the clock of the set
  return redis.call('ZRANGEBYSCORE', set, '-inf', all and '+inf' or now, 'LIMIT', 0, limit)
end

local moved = {}
for k = 1, #KEYS, sets + 1 do
  local stream, count, firsts = KEYS[k], 0, {}
  for s = 1, sets do firsts[s] = first(KEYS[k + s], ARGV[2 + s] == '1') end
  for turn = 1, limit do
    local left = false
    for s = 1, sets do
      local entry = firsts[s][turn]
      if entry and count < limit then
        redis.call('XADD', stream, '*', 'e', entry)
        redis.call('ZREM', KEYS[k + s], entry) -- last: if an error stops the script, the entry is not lost
        count, left = count + 1, true
      end
    end
    if not left then break end
  end
  moved[#moved + 1] = count
end
return moved
