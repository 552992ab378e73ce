-- Stores a message in one of its two copies, once. The first copy, that of the user
-- with the lower id, orders the conversation: a new id must lie above all before
-- it, and what the second copy is to get is left pending. The second copy takes
-- messages in that order, also when its user has deleted some since.
--
-- KEYS  1 record (of this copy)  2 meta  3 inboxes  4 unread inboxes
--       5 conversation  6 messages  7 received, or in the sender's copy sent
--       8 bodies  9 words  10 log  11 open  12 devices  13 outbox stream
--      14 delayed set  15 users of the partition  16 heads
--      17 once  18 pending  19 handoffs: the first copy's, else any
--      20 records  21 gone (of the conversation)
-- ARGV  1 id  2 remember, ms  3 message (storedMessage)  4 conversation id
--       5 partner  6 score  7 publish  8 channel  9 frame  10 replay, ms  11 frames
--      12 first line of the outbox entry  13 its body  14 subject of the push
--      15 grace for a receiver with a live socket, ms  16 member of users
--      17 role: 'sender' or 'receiver'
--      18 in the second copy: the id before it in the first one, or '*' for any
--      19 in the first copy: hand-off, else ''  20 pointer to it  21 its delay, ms
--      22 member of records for the record  23 for once
--      24 content (digest of what is sent)
--      25… postings
-- Reply {status, id}: 1 stored, id is the one before it; 0 stored before, as id;
--       -1 out of order, id is the newest one of this copy; -2 dropped because one
--       of the two was erased; -3 stored before as id, with other content

local id, conversation, first = ARGV[1], ARGV[4], ARGV[19] ~= ''
if was_erased(KEYS[2]) then return {-2, ''} end
local gone = ARGV[17] == 'receiver' and redis.call('GET', KEYS[21])
if gone and id <= gone then return {-2, ''} end
local head = redis.call('HGET', KEYS[16], conversation) or ''
if first then
  local before = redis.call('GET', KEYS[17])
  if before then
    local as, content = string.match(before, '^(%S+) (%S+)$')
    return {content == ARGV[24] and 0 or -3, as}
  end
  if id <= head then return {-1, head} end
elseif redis.call('EXISTS', KEYS[1]) == 1 then
  return {0, id}
elseif ARGV[18] ~= '*' and ARGV[18] ~= head then
  return {-1, head}
end

-- A pending message below the head is one that was ordered after a failover had
-- lost the first copy's newest ones: late, but not lost.
if id > head then redis.call('HSET', KEYS[16], conversation, id) end
redis.call('ZADD', KEYS[3], 'GT', ARGV[6], conversation)
redis.call('HSET', KEYS[5], 'partner', ARGV[5])
redis.call('ZADD', KEYS[6], 0, id)
redis.call('ZADD', KEYS[7], 0, id)
redis.call('HSET', KEYS[8], id, ARGV[3])
for i = 25, #ARGV do redis.call('ZADD', KEYS[9], 0, ARGV[i]) end
local seq, prev = advance(KEYS[2], KEYS[15], ARGV[16])
log_frame(KEYS[10], seq, prev, 'message', id, '', ARGV[11], ARGV[10])
local listening = publish(ARGV[7], ARGV[8], 'message', seq, prev, id, ARGV[9])

local push = 'none'
if ARGV[17] == 'sender' then
  redis.call('ZADD', KEYS[4], 'XX', 'GT', ARGV[6], conversation) -- both inboxes are in the same order
else
  redis.call('ZADD', KEYS[4], 'GT', ARGV[6], conversation)
  redis.call('ZADD', KEYS[11], MESSAGE, id)
  if ARGV[12] ~= '' and redis.call('EXISTS', KEYS[12]) == 1 then
    local entry = ARGV[12] .. '\n' .. ARGV[13]
    if listening > 0 and tonumber(ARGV[15]) > 0 then
      redis.call('ZADD', KEYS[14], digits(millis() + tonumber(ARGV[15])), entry)
    else
      redis.call('XADD', KEYS[13], '*', 'e', entry)
    end
    push = 'waiting'
    redis.call('HSET', KEYS[2], 'r:' .. ARGV[14], '0 0 - ' .. id)
  end
end
remember_record(KEYS[20], ARGV[2], ARGV[22])
redis.call('SET', KEYS[1], '- ' .. id .. ' ' .. seq .. ' ' .. listening .. ' ' .. push .. '\n', 'PX', ARGV[2])
if first then
  remember_record(KEYS[20], ARGV[2], ARGV[23])
  redis.call('SET', KEYS[17], id .. ' ' .. ARGV[24], 'PX', ARGV[2])
  redis.call('ZADD', KEYS[18], 0, id .. ARGV[19])
  redis.call('ZADD', KEYS[19], 'NX', digits(millis() + tonumber(ARGV[21])), ARGV[20])
end
return {1, head}
