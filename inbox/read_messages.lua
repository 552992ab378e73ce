-- Marks messages of a conversation as read by their receiver: one, or all up to one.
--
-- KEYS  1 received  2 open  3 unread inboxes  4 handoffs
-- ARGV  1 conversation id  2 id of the one message, or '' for all
--       3 the last id in question  4 how many at most
--       5 hand-off (tells the sender)  6 its delay, ms  7 publish  8 channel
-- Reply {how many were marked, 1 when more are left to mark}

local received = KEYS[1]
local ids
if ARGV[2] ~= '' then
  ids = redis.call('ZSCORE', received, ARGV[2]) and {ARGV[2]} or {}
else
  ids = redis.call('ZRANGEBYLEX', received, '-', '[' .. ARGV[3], 'LIMIT', 0, ARGV[4])
end
if #ids == 0 then return {0, 0} end
redis.call('ZREM', received, unpack(ids))
redis.call('ZREM', KEYS[2], unpack(ids))
if redis.call('EXISTS', received) == 0 then redis.call('ZREM', KEYS[3], ARGV[1]) end
redis.call('ZADD', KEYS[4], digits(millis() + tonumber(ARGV[6])), ARGV[5])
publish(ARGV[7], ARGV[8], 'unreads', '0', '0', '-', '')
return {#ids, ARGV[2] == '' and #ids == tonumber(ARGV[4]) and 1 or 0}
