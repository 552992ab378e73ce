-- Deletes messages from a user's copy of a conversation. Without any left it leaves
-- the inbox.
--
-- KEYS  1 messages  2 received  3 sent  4 bodies  5 words  6 open
--       7 inboxes  8 unread inboxes  9 conversation
-- ARGV  1 conversation id  2 publish  3 channel
--       4 number of ids, then the ids, then their postings
-- Reply how many of them there were

local deleted, unread = 0, 0
local last = 4 + tonumber(ARGV[4])
for i = 5, last do
  local id = ARGV[i]
  deleted = deleted + redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[4], id)
  redis.call('ZREM', KEYS[3], id)
  if redis.call('ZREM', KEYS[2], id) == 1 then
    redis.call('ZREM', KEYS[6], id)
    unread = unread + 1
  end
end
for i = last + 1, #ARGV do redis.call('ZREM', KEYS[5], ARGV[i]) end
if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('ZREM', KEYS[8], ARGV[1]) end
local newest = redis.call('ZREVRANGE', KEYS[1], 0, 0)[1]
if newest then
  redis.call('ZADD', KEYS[7], 'XX', score_of(newest), ARGV[1])
  redis.call('ZADD', KEYS[8], 'XX', score_of(newest), ARGV[1])
else
  redis.call('ZREM', KEYS[7], ARGV[1])
  redis.call('DEL', KEYS[9])
end
if unread > 0 then publish(ARGV[2], ARGV[3], 'unreads', '0', '0', '-', '') end
return deleted
