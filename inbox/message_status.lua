-- Tells whether the receiver of a message has seen it already.
--
-- KEYS  received_unread, record, meta
-- ARGV  id: of the message
-- Reply {1 when it was read or deleted, or a socket has said that it was seen; else 0,
--        number of unread messages in the conversation}

local received_unread, record, meta = unpack(KEYS)
local id = ARGV[1]

local seen = 0
if not redis.call('ZSCORE', received_unread, id) then seen = 1 end
local content, seen_seq = redis.call('GET', record), redis.call('HGET', meta, 'seen')
local seq = content and string.match(content, '^%S+ %S+ (%S+)')
if seq and seen_seq and tonumber(seen_seq) >= tonumber(seq) then seen = 1 end
return {seen, redis.call('ZCARD', received_unread)}
