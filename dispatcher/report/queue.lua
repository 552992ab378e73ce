-- queue_report queues a report for a service: the stream has the reports by their age,
-- the sorted set the ids of the stream's entries, scored with the moment of their next
-- attempt in ms. When there are more than limit, the oldest are dropped. It returns the
-- id of the entry and how many were dropped. Both keys expire after keep ms without a new
-- report.
local function queue_report(stream, due, limit, keep, delay, id, body)
  local t = redis.call('TIME')
  local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  local entry = redis.call('XADD', stream, '*', 'i', id, 'b', body)
  redis.call('ZADD', due, string.format('%.0f', now + tonumber(delay)), entry)
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
