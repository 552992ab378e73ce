-- queue_report queues a report for a service, to be sent in delay ms. The stream holds
-- the reports, the oldest first. The sorted set holds the ids of the stream's entries,
-- scored with the time of their next attempt in ms. When the stream has more than limit
-- entries, the oldest are dropped. Both keys expire keep ms after the newest report.
-- queue_report returns the id of the entry and how many others were dropped.
local function queue_report(stream, due, limit, keep, delay, id, body)
  local entry = redis.call('XADD', stream, '*', 'i', id, 'b', body)
  redis.call('ZADD', due, due_at(due, delay), entry)
  local over = redis.call('XLEN', stream) - tonumber(limit)
  if over > 0 then
    for _, old in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', over)) do
      redis.call('XDEL', stream, old[1])
      redis.call('ZREM', due, old[1])
    end
  end
  redis.call('PEXPIRE', stream, keep)
  redis.call('PEXPIRE', due, keep)
  return entry, math.max(over, 0)
end
