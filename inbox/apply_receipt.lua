-- Applies a read receipt to the sender's copy of a conversation.
--
-- KEYS  sent_unread, heads, bodies
-- ARGV  id: of the one message that was read, or '' for all
--       up_to: the last id of all
--       publish_command, channel
--       frame: what the sender's live sockets get
--       conversation_id
--       nothing_pending: '1' when no message is pending for this copy: messages that it
--       lacks will never arrive
--       read_at: seconds
--       max_messages: how many one call marks at most
-- Reply {how many messages this call marked as read, or -1 when this copy lacks the
--       message, 1 when more are left to mark}

local sent_unread, heads, bodies = unpack(KEYS)
local id, up_to, publish_command, channel, frame, conversation_id, nothing_pending, read_at, max_messages = unpack(ARGV)

local newest = id ~= '' and id or up_to
if nothing_pending ~= '1' and (redis.call('HGET', heads, conversation_id) or '') < newest then return {-1, 0} end
local ids
if id ~= '' then
  ids = redis.call('ZSCORE', sent_unread, id) and {id} or {}
else
  ids = redis.call('ZRANGEBYLEX', sent_unread, '-', '[' .. up_to, 'LIMIT', 0, max_messages)
end
if #ids == 0 then return {0, 0} end
expect('hash', bodies)
note_read(bodies, ids, read_at)
redis.call('ZREM', sent_unread, unpack(ids))
publish(publish_command, channel, 'read', '0', '0', '-', frame)
return {#ids, id == '' and #ids == tonumber(max_messages) and 1 or 0}
