-- Drops members of the index of unsent pushes whose entries are gone. A member is dropped
-- when an entry that was due before some moment M is neither in a delayed or waiting set at
-- M, nor among those that were in the stream at M and have not been settled since. An entry
-- that was delayed again after M is due after M. M and the last entry of the stream at M
-- are kept in INDEX:swept, "MILLISECONDS ID", so dropping takes two calls. It works at
-- maxmemory; see doc.go.
--
-- KEYS  for each lane: the index, the stream, its delayed and waiting sets
-- ARGV  1 number of delayed and waiting sets of each lane
-- Reply how many members were dropped

local sets = tonumber(ARGV[1])

redis.call('ZREM', KEYS[1], '') -- no-op: a script whose first write Redis permits at maxmemory may write on

-- after reports whether id a of a stream is greater than b.
local function after(a, b)
  local am, an = string.match(a, '^(%d+)-(%d+)$')
  local bm, bn = string.match(b, '^(%d+)-(%d+)$')
  if am ~= bm then return tonumber(am) > tonumber(bm) end
  return tonumber(an) > tonumber(bn)
end

local function sweep(index, stream, moment, last)
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if first and not after(first[1], last) then return nil end -- what was in the stream is not settled yet
  local gone = redis.call('ZRANGEBYSCORE', index .. ':due', '-inf', '(' .. moment, 'LIMIT', 0, 1000)
  for _, member in ipairs(gone) do
    redis.call('ZREM', index, member)
    redis.call('ZREM', index .. ':due', member)
  end
  return #gone
end

-- mark returns M and the last entry of the stream now.
local function mark(stream, first_set)
  local moment = math.huge
  for k = first_set, first_set + sets - 1 do
    moment = math.min(moment, tonumber(due_now(KEYS[k])))
    local first = redis.call('ZRANGE', KEYS[k], 0, 0, 'WITHSCORES')
    if first[2] then moment = math.min(moment, tonumber(first[2])) end
  end
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  return digits(moment) .. ' ' .. (last and last[1] or '0-0')
end

local dropped = 0
for k = 1, #KEYS, sets + 2 do
  local index, stream = KEYS[k], KEYS[k + 1]
  local swept = index .. ':swept'
  if redis.call('EXISTS', index) == 0 then
    redis.call('DEL', swept)
  else
    local moment, last = string.match(redis.call('GET', swept) or '', '^(%d+) (.+)$')
    local gone = moment and sweep(index, stream, moment, last)
    if gone or not moment then redis.call('SET', swept, mark(stream, k + 2)) end
    dropped = dropped + (gone or 0)
  end
end
return dropped
