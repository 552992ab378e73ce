-- Reads one page of a conversation, the newest message first.
--
-- KEYS  messages, received_unread, sent_unread, bodies
-- ARGV  offset, count
-- Reply [id, 1 when its receiver has read it else 0, when it was read in seconds or '',
--       body or nil, …]

local messages, received_unread, sent_unread, bodies = unpack(KEYS)
local offset, count = ARGV[1], ARGV[2]

local page = {}
for _, id in ipairs(redis.call('ZREVRANGE', messages, offset, offset + count - 1)) do
  local unread = redis.call('ZSCORE', received_unread, id) or redis.call('ZSCORE', sent_unread, id)
  page[#page + 1] = id
  page[#page + 1] = unread and 0 or 1
  local kept = redis.call('HMGET', bodies, id, read_field(id))
  page[#page + 1] = kept[2] or ''
  page[#page + 1] = kept[1]
end
return page
