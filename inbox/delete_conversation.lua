-- Deletes a user's copy of a conversation. Its messages are gone at once; their bodies
-- and postings are left to purge_messages.lua.
--
-- KEYS  messages, received_unread, sent_unread, counted, conversations,
--       unread_conversations, conversation, trash,
--       deleted_messages: what messages is renamed to; shade, delayed: unless dismissals are off
-- ARGV  conversation_id, publish_command, channel, dismissal: entry of delayed
-- Reply 1, or 0 when there is no such conversation

local messages, received_unread, sent_unread, counted, conversations,
  unread_conversations, conversation, trash, deleted_messages, shade, delayed = unpack(KEYS)
local conversation_id, publish_command, channel, dismissal = unpack(ARGV)

expect('zset', unread_conversations, received_unread, counted, messages, delayed)
expect('set', trash)
if redis.call('ZREM', conversations, conversation_id) == 0 then return 0 end
redis.call('ZREM', unread_conversations, conversation_id)
local unread = redis.call('ZRANGE', received_unread, 0, -1)
for i = 1, #unread, 1000 do
  redis.call('ZREM', counted, unpack(unread, i, math.min(i + 999, #unread)))
end
redis.call('UNLINK', received_unread, sent_unread, conversation)
if redis.call('EXISTS', messages) == 1 then
  redis.call('RENAME', messages, deleted_messages)
  redis.call('SADD', trash, deleted_messages)
end
if #unread > 0 then
  tell_screens(shade, delayed, dismissal)
  publish_unreads(publish_command, channel)
end
return 1
