-- Removes the bodies and postings of messages whose conversation was deleted.
--
-- KEYS  deleted_messages: what the conversation's messages were renamed to
--       trash, bodies, words
-- ARGV  count: of ids; then the ids; then the postings of these messages
-- Reply 1

local deleted_messages, trash, bodies, words = unpack(KEYS)
local FIRST_ID = 2
local first_posting = FIRST_ID + ARGV[1]

expect('zset', deleted_messages, words)
expect('hash', bodies)
expect('set', trash)

for i = FIRST_ID, first_posting - 1 do
  redis.call('ZREM', deleted_messages, ARGV[i])
  redis.call('HDEL', bodies, ARGV[i], read_field(ARGV[i]))
end
for i = first_posting, #ARGV do redis.call('ZREM', words, ARGV[i]) end
if redis.call('EXISTS', deleted_messages) == 0 then redis.call('SREM', trash, deleted_messages) end
return 1
