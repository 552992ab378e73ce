-- Reads one page of a conversation, the newest message first.
--
-- KEYS  1 messages  2 received  3 sent  4 bodies
-- ARGV  1 offset  2 count
-- Reply [id, 1 when its receiver has read it else 0, message, …]

local ids = redis.call('ZREVRANGE', KEYS[1], ARGV[1], ARGV[1] + ARGV[2] - 1)
local page = {}
for _, id in ipairs(ids) do
  local unread = redis.call('ZSCORE', KEYS[2], id) or redis.call('ZSCORE', KEYS[3], id)
  page[#page + 1] = id
  page[#page + 1] = unread and 0 or 1
  page[#page + 1] = redis.call('HGET', KEYS[4], id)
end
return page
