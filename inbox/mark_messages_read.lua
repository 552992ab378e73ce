-- Marks messages of a conversation as read by their receiver: one, or all up to one.
--
-- KEYS  received_unread, counted, unread_conversations, handoffs, bodies; shade, delayed:
--       unless dismissals are off
-- ARGV  conversation_id
--       id: of the one message, or '' for all
--       up_to: the last id of all
--       max_messages: how many one call marks at most
--       handoff: member of handoffs that carries the receipt to the sender
--       handoff_delay: ms until another process takes it over
--       publish_command, channel
--       read_at: seconds
--       dismissal: entry of delayed
-- Reply {how many were marked, 1 when more are left to mark}

local received_unread, counted, unread_conversations, handoffs, bodies, shade, delayed = unpack(KEYS)
local conversation_id, id, up_to, max_messages, handoff, handoff_delay, publish_command, channel, read_at, dismissal = unpack(ARGV)

local ids
if id ~= '' then
  ids = redis.call('ZSCORE', received_unread, id) and {id} or {}
else
  ids = redis.call('ZRANGEBYLEX', received_unread, '-', '[' .. up_to, 'LIMIT', 0, max_messages)
end
if #ids == 0 then return {0, 0} end
expect('zset', counted, unread_conversations, handoffs, delayed)
expect('hash', bodies)
note_read(bodies, ids, read_at)
redis.call('ZREM', received_unread, unpack(ids))
redis.call('ZREM', counted, unpack(ids))
if redis.call('EXISTS', received_unread) == 0 then redis.call('ZREM', unread_conversations, conversation_id) end
redis.call('ZADD', handoffs, due_at(handoffs, handoff_delay), handoff)
tell_screens(shade, delayed, dismissal)
publish_unreads(publish_command, channel)
return {#ids, id == '' and #ids == tonumber(max_messages) and 1 or 0}
