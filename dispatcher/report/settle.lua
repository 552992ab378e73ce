-- Removes a report, or delays its next attempt. It works at maxmemory, as the scripts of
-- the outbox do.
--
-- KEYS  1 stream  2 due
-- ARGV  1 id of the entry  2 delay of the next attempt in ms, or '' to remove
-- Reply 1, or 0 when the report is gone already

local stream, due = KEYS[1], KEYS[2]
local entry, delay = ARGV[1], ARGV[2]

if not redis.call('ZSCORE', due, entry) then return 0 end
if delay == '' then
  redis.call('XDEL', stream, entry)
  redis.call('ZREM', due, entry)
else
  redis.call('ZREM', due, '') -- no-op: a script whose first write Redis permits at maxmemory may write on
  redis.call('ZADD', due, due_at(due, delay), entry)
end
return 1
