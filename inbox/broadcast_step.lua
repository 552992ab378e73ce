-- What the scripts that take a walker on share. It stands before them.

-- step says whether a walker may go on from one user of a partition to a later one:
-- 1 yes, 0 the walk is past the latter, -1 another walker has come or nobody may
-- walk, -2 the walk is elsewhere, because a step before this one failed.
local function step(walk, fence, from, to)
  local known = redis.call('HMGET', walk, 'fence', 'cursor')
  local cursor = known[2] or ''
  if known[1] ~= fence then return -1 end
  if cursor >= to then return 0 end
  if cursor ~= from then return -2 end
  return 1
end
