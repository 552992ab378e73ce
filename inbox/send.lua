-- Stores a message in its sender's copy of the conversation, once, and leaves a
-- hand-off to the receiver.
--
-- KEYS  1 record  2 meta  3 inboxes  4 conversation  5 messages  6 sent  7 bodies
--       8 words  9 log  10 handoffs  11 unread inboxes  12 users of the partition
--      13 records  14 partners
-- ARGV  1 id  2 content (digest of what was sent)  3 remember, ms
--       4 message (storedMessage)  5 conversation id  6 partner  7 score
--       8 hand-off  9 its delay, ms
--      10 publish  11 channel  12 frame  13 replay, ms  14 frames
--      15 member of users  16 member of records
--      17… postings
-- Reply {status, id}: 1 stored, 0 sent before (id is the first one's), -1 sent
--       before with other content, -2 the sender was erased

if was_erased(KEYS[2]) then return {-2, ''} end
local id = ARGV[1]
local seen = redis.call('GET', KEYS[1])
if seen then
  local content, first = string.match(seen, '^(%S+) (%S+)$')
  if content ~= ARGV[2] then return {-1, first} end
  return {first == id and 1 or 0, first}
end
redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. id, 'PX', ARGV[3])
redis.call('ZADD', KEYS[13], digits(millis() + tonumber(ARGV[3])), ARGV[16])
redis.call('SADD', KEYS[14], ARGV[6])
redis.call('ZADD', KEYS[3], 'GT', ARGV[7], ARGV[5])
redis.call('ZADD', KEYS[11], 'XX', 'GT', ARGV[7], ARGV[5]) -- both are in the same order
redis.call('HSET', KEYS[4], 'partner', ARGV[6])
redis.call('ZADD', KEYS[5], 0, id)
redis.call('ZADD', KEYS[6], 0, id)
redis.call('HSET', KEYS[7], id, ARGV[4])
for i = 17, #ARGV do redis.call('ZADD', KEYS[8], 0, ARGV[i]) end
redis.call('ZADD', KEYS[10], digits(millis() + tonumber(ARGV[9])), ARGV[8])
local seq, prev = advance(KEYS[2], KEYS[12], ARGV[15])
log_frame(KEYS[9], seq, prev, 'message', id, '', ARGV[14], ARGV[13])
publish(ARGV[10], ARGV[11], 'message', seq, prev, id, ARGV[12])
return {1, id}
