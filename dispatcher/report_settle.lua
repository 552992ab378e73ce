-- Removes a report, or puts it off.
--
-- KEYS  1 stream  2 due
-- ARGV  1 id of the entry  2 when it is to be sent again, in ms from now; or '': not again
-- Reply 1, or 0 when it is gone already

if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
if ARGV[2] == '' then
  redis.call('XDEL', KEYS[1], ARGV[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  local t = redis.call('TIME')
  local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
end
return 1
