-- Deletes a user's copy of a conversation. Its messages are gone at once; their
-- bodies and postings are left to purge.lua.
--
-- KEYS  1 messages  2 received  3 sent  4 open  5 inboxes  6 unread inboxes
--       7 conversation  8 trash  9 the key that messages gets
-- ARGV  1 conversation id  2 publish  3 channel
-- Reply 1, or 0 when there is no such conversation

if redis.call('ZREM', KEYS[5], ARGV[1]) == 0 then return 0 end
redis.call('ZREM', KEYS[6], ARGV[1])
local unread = redis.call('ZRANGE', KEYS[2], 0, -1)
for i = 1, #unread, 1000 do
  redis.call('ZREM', KEYS[4], unpack(unread, i, math.min(i + 999, #unread)))
end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[7])
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('RENAME', KEYS[1], KEYS[9])
  redis.call('SADD', KEYS[8], KEYS[9])
end
if #unread > 0 then publish(ARGV[2], ARGV[3], 'unreads', '0', '0', '-', '') end
return 1
