-- Applies a read receipt to the sender's copy of a conversation.
--
-- KEYS  sent_unread, heads
-- ARGV  id: of the one message that was read, or '' for all
--       up_to: the last id of all
--       publish_command, channel
--       frame: what the sender's live sockets get
--       conversation_id
--       nothing_pending: '1' when no message is pending for this copy: messages that it
--       lacks will never arrive
-- Reply how many messages this call marked as read, or -1 when this copy lacks the
--       message

local sent_unread, heads = unpack(KEYS)
local id, up_to, publish_command, channel, frame, conversation_id, nothing_pending = unpack(ARGV)

local newest = id ~= '' and id or up_to
if nothing_pending ~= '1' and (redis.call('HGET', heads, conversation_id) or '') < newest then return -1 end
local n
if id ~= '' then
  n = redis.call('ZREM', sent_unread, id)
else
  n = redis.call('ZREMRANGEBYLEX', sent_unread, '-', '[' .. up_to)
end
if n > 0 then publish(publish_command, channel, 'read', '0', '0', '-', frame) end
return n
