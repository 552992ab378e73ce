-- Forgets subjects about which nothing has come for long, unless they are in a
-- counter or something has come after all.
--
-- KEYS  1 meta  2 open
-- ARGV  subject and what meta says of it, by turns
-- Reply how many were forgotten

local n = 0
for i = 1, #ARGV, 2 do
  local field = 'r:' .. ARGV[i]
  if redis.call('HGET', KEYS[1], field) == ARGV[i + 1] and not redis.call('ZSCORE', KEYS[2], ARGV[i]) then
    n = n + redis.call('HDEL', KEYS[1], field)
  end
end
return n
