-- may_step returns 1 when a broadcaster may move a partition's cursor from one user to a
-- later one, 0 when the cursor is at the later one or past it already, -1 when the fence
-- was raised, and -2 when the cursor is elsewhere, because the step before this one failed.
-- It also returns how many users were notified and skipped so far. The caller writes the
-- new totals itself: HINCRBY could fail after the step's first write.
local function may_step(walk, fence, from, to)
  local known = redis.call('HMGET', walk, 'fence', 'cursor', 'sent', 'skipped')
  local highest, cursor = known[1], known[2] or ''
  local sent, skipped = tonumber(known[3] or '0') or 0, tonumber(known[4] or '0') or 0
  if highest ~= fence then return -1 end
  if cursor >= to then return 0 end
  if cursor ~= from then return -2 end
  return 1, sent, skipped
end
