-- Deletes messages from a user's copy of a conversation, and the conversation with the last
-- of them.
--
-- KEYS  messages, received_unread, sent_unread, bodies, words, counted, conversations,
--       unread_conversations, conversation; shade, delayed: unless dismissals are off
-- ARGV  conversation_id, publish_command, channel, dismissal: entry of delayed
--       count: of ids; then the ids; then the postings of these messages
-- Reply how many of the messages existed

local messages, received_unread, sent_unread, bodies, words, counted, conversations,
  unread_conversations, conversation, shade, delayed = unpack(KEYS)
local conversation_id, publish_command, channel, dismissal, count = unpack(ARGV, 1, 5)
local FIRST_ID = 6
local first_posting = FIRST_ID + count

expect('zset', messages, received_unread, sent_unread, words, counted, conversations, unread_conversations, delayed)
expect('hash', bodies)

local deleted, unread = 0, 0
for i = FIRST_ID, first_posting - 1 do
  local id = ARGV[i]
  deleted = deleted + redis.call('ZREM', messages, id)
  redis.call('HDEL', bodies, id, read_field(id))
  redis.call('ZREM', sent_unread, id)
  if redis.call('ZREM', received_unread, id) == 1 then
    redis.call('ZREM', counted, id)
    unread = unread + 1
  end
end
for i = first_posting, #ARGV do redis.call('ZREM', words, ARGV[i]) end
if redis.call('EXISTS', received_unread) == 0 then redis.call('ZREM', unread_conversations, conversation_id) end
local newest = redis.call('ZREVRANGE', messages, 0, 0)[1]
if newest then
  redis.call('ZADD', conversations, 'XX', score_of(newest), conversation_id)
  redis.call('ZADD', unread_conversations, 'XX', score_of(newest), conversation_id)
else
  redis.call('ZREM', conversations, conversation_id)
  redis.call('DEL', conversation)
end
if unread > 0 then
  tell_screens(shade, delayed, dismissal)
  publish_unreads(publish_command, channel)
end
return deleted
