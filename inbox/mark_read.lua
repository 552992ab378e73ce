-- Marks one notification as read.
--
-- KEYS  notifications, unread, counted, meta; shade, delayed: unless dismissals are off
-- ARGV  id, seq: of the notification
--       publish_command, channel
--       dismissal: entry of delayed
-- Reply {1 when there is such a notification else 0, number of unread ones}

local notifications, unread, counted, meta, shade, delayed = unpack(KEYS)
local id, seq, publish_command, channel, dismissal = unpack(ARGV)

local entry = redis.call('XRANGE', notifications, seq, seq)[1]
local fields = entry and entry[2] -- i ID p PREV t TYPE r SUBJECT b BODY
if not fields or fields[2] ~= id then return {0, redis.call('ZCARD', unread)} end

expect('hash', meta)
expect('zset', counted, delayed)
local changed = redis.call('ZREM', unread, id)
-- A transaction leaves NEWS when the notification that told its state is read.
local subject = fields[8]
if subject ~= '' then
  local state = redis.call('HGET', meta, 'r:' .. subject)
  local told = state and told_by(state)
  if told == id and tonumber(redis.call('ZSCORE', counted, subject)) == NEWS then
    redis.call('ZREM', counted, subject)
  end
end
if changed == 1 then
  tell_screens(shade, delayed, dismissal)
  publish_unreads(publish_command, channel)
end
return {1, redis.call('ZCARD', unread)}
