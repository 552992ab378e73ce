-- Writes what came of an outbox entry and removes the entry, if it is still ours.
--
-- KEYS  1 stream  2 delayed  3 dead  4 record (or the stream again: none)
--       5 stream of reports  6 reports that are due (or the stream again: none)
--       7 walk of the broadcast that the entry is of; absent: none
-- ARGV  1 group  2 consumer  3 id  4 lane
--       5 lines for the record, or ''
--       6 number of delayed entries, then delay in ms and entry of each
--       next: number of dead letters, then device, reason and entry of each
--       next: how many reports are kept, for how long in ms, and the number of new
--       ones, then id and body of each
--       next: field of the walk and by how much it is counted up, by turns
-- Reply how many reports were dropped to make room, or -1 when another consumer holds
--       the entry by now

local stream, id = KEYS[1], ARGV[3]
if #redis.call('XPENDING', stream, ARGV[1], id, id, 1, ARGV[2]) == 0 then return -1 end

local i = 6
local function number() i = i + 1; return tonumber(ARGV[i - 1]) end

if ARGV[5] ~= '' and redis.call('EXISTS', KEYS[4]) == 1 then -- it may have expired
  redis.call('APPEND', KEYS[4], ARGV[5])
end

local delayed = number()
if delayed > 0 then
  local t = redis.call('TIME')
  local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  for _ = 1, delayed do
    redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[i])), ARGV[i + 1])
    i = i + 2
  end
end

for _ = 1, number() do
  redis.call('XADD', KEYS[3], '*', 'lane', ARGV[4], 'device', ARGV[i], 'reason', ARGV[i + 1], 'e', ARGV[i + 2])
  i = i + 3
end

local most, life, dropped = ARGV[i], ARGV[i + 1], 0
i = i + 2
for _ = 1, number() do
  local _, over = queue_report(KEYS[5], KEYS[6], most, life, 0, ARGV[i], ARGV[i + 1])
  dropped = dropped + over
  i = i + 2
end

if KEYS[7] and redis.call('EXISTS', KEYS[7]) == 1 then -- it may have expired
  for n = i, #ARGV, 2 do redis.call('HINCRBY', KEYS[7], ARGV[n], ARGV[n + 1]) end
end

redis.call('XACK', stream, ARGV[1], id)
redis.call('XDEL', stream, id)
return dropped
