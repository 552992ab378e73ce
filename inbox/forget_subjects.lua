-- Forgets subjects, unless they are in a counter or have changed since the caller read
-- them.
--
-- KEYS  meta, counted
-- ARGV  of each subject two values: the subject, and its value in meta as the caller
--       read it
-- Reply how many were forgotten

local meta, counted = unpack(KEYS)

local forgotten = 0
for i = 1, #ARGV, 2 do
  local subject, state = ARGV[i], ARGV[i + 1]
  local field = 'r:' .. subject
  if redis.call('HGET', meta, field) == state and not redis.call('ZSCORE', counted, subject) then
    forgotten = forgotten + redis.call('HDEL', meta, field)
  end
end
return forgotten
