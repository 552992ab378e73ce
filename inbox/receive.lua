-- Stores a message in its receiver's copy of the conversation, once, also when the
-- receiver has deleted it since.
--
-- KEYS  1 record  2 meta  3 inboxes  4 unread inboxes  5 conversation  6 messages
--       7 received  8 bodies  9 words  10 log  11 open  12 devices
--      13 outbox stream  14 delayed set  15 users of the partition  16 records
--      17 gone (of the conversation)
-- ARGV  1 id  2 remember, ms  3 message  4 conversation id  5 partner  6 score
--       7 publish  8 channel  9 frame  10 replay, ms  11 frames
--      12 first line of the outbox entry  13 its body  14 subject of the push
--      15 grace for a receiver with a live socket, ms
--      16 member of users  17 member of records
--      18… postings
-- Reply 1 stored, 0 stored before, 2 dropped because one of the two was erased

if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local id = ARGV[1]
local gone = redis.call('GET', KEYS[17])
if was_erased(KEYS[2]) or (gone and id <= gone) then return 2 end
redis.call('ZADD', KEYS[3], 'GT', ARGV[6], ARGV[4])
redis.call('ZADD', KEYS[4], 'GT', ARGV[6], ARGV[4])
redis.call('HSET', KEYS[5], 'partner', ARGV[5])
redis.call('ZADD', KEYS[6], 0, id)
redis.call('ZADD', KEYS[7], 0, id)
redis.call('HSET', KEYS[8], id, ARGV[3])
for i = 18, #ARGV do redis.call('ZADD', KEYS[9], 0, ARGV[i]) end
redis.call('ZADD', KEYS[11], MESSAGE, id)
local seq, prev = advance(KEYS[2], KEYS[15], ARGV[16])
log_frame(KEYS[10], seq, prev, 'message', id, '', ARGV[11], ARGV[10])
local listening = publish(ARGV[7], ARGV[8], 'message', seq, prev, id, ARGV[9])

local push = 'none'
if redis.call('EXISTS', KEYS[12]) == 1 then
  local entry = ARGV[12] .. '\n' .. ARGV[13]
  if listening > 0 and tonumber(ARGV[15]) > 0 then
    redis.call('ZADD', KEYS[14], digits(millis() + tonumber(ARGV[15])), entry)
  else
    redis.call('XADD', KEYS[13], '*', 'e', entry)
  end
  push = 'waiting'
  redis.call('HSET', KEYS[2], 'r:' .. ARGV[14], '0 0 - ' .. id)
end
redis.call('SET', KEYS[1], '- ' .. id .. ' ' .. seq .. ' ' .. listening .. ' ' .. push .. '\n', 'PX', ARGV[2])
redis.call('ZADD', KEYS[16], digits(millis() + tonumber(ARGV[2])), ARGV[17])
return 1
