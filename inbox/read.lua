-- Marks one notification as read.
--
-- KEYS  1 notes  2 unread  3 open  4 meta
-- ARGV  1 id  2 its sequence number  3 publish  4 channel
-- Reply {1 when there is such a notification else 0, number of unread ones}

local note = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
local fields = note and note[2]
if not fields or fields[2] ~= ARGV[1] then return {0, redis.call('ZCARD', KEYS[2])} end

local changed = redis.call('ZREM', KEYS[2], ARGV[1])
-- A transaction's news is unread as long as the notification that told it is.
local subject = fields[8]
if subject ~= '' then
  local state = redis.call('HGET', KEYS[4], 'r:' .. subject)
  local told = state and string.match(state, '^%S+ %S+ (%S+)')
  if told == ARGV[1] and tonumber(redis.call('ZSCORE', KEYS[3], subject)) == NEWS then
    redis.call('ZREM', KEYS[3], subject)
  end
end
if changed == 1 then publish(ARGV[3], ARGV[4], 'unreads', '0', '0', '-', '') end
return {1, redis.call('ZCARD', KEYS[2])}
