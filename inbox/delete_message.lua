-- Deletes one message from a user's copy of a conversation.
--
-- KEYS  1 messages  2 received  3 sent  4 bodies  5 words  6 open
--       7 inboxes  8 unread inboxes  9 conversation
-- ARGV  1 id  2 conversation id  3 publish  4 channel  5… postings
-- Reply 1, or 0 when there is no such message

local id = ARGV[1]
if redis.call('ZREM', KEYS[1], id) == 0 then return 0 end
redis.call('HDEL', KEYS[4], id)
redis.call('ZREM', KEYS[3], id)
for i = 5, #ARGV do redis.call('ZREM', KEYS[5], ARGV[i]) end
if redis.call('ZREM', KEYS[2], id) == 1 then
  redis.call('ZREM', KEYS[6], id)
  publish(ARGV[3], ARGV[4], 'unreads', '0', '0', '-', '')
end
if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('ZREM', KEYS[8], ARGV[2]) end
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('ZREM', KEYS[7], ARGV[2])
  redis.call('DEL', KEYS[9])
else
  -- The conversation takes the place of the newest message that is left.
  local newest = redis.call('ZRANGE', KEYS[1], -1, -1)[1]
  local score = digits(tonumber(string.sub(newest, 1, 13), 16))
  redis.call('ZADD', KEYS[7], 'XX', score, ARGV[2])
  redis.call('ZADD', KEYS[8], 'XX', score, ARGV[2])
end
return 1
