-- Stores a message in one of its two copies, once. The first copy, that of the user
-- with the lower id, orders the conversation: a new id must be above all before it, and
-- the message becomes pending for the second copy. The second copy takes messages in
-- that order, also when its user has deleted some since.
--
-- KEYS  record: of this copy
--       meta, conversations, unread_conversations, conversation, messages
--       unread: received_unread, or in the sender's copy sent_unread
--       bodies, words, log, counted, devices
--       outbox: a stream; delayed: the delayed set of the lane
--       users: of the partition
--       heads
--       once: record of what was stored in the first copy
--       pending, handoffs: of the first copy; not used for the second one
--       record_index
--       min_generation: of the conversation
--       unread_notifications
-- ARGV  id
--       record_ttl: ms
--       message: storedMessage
--       conversation_id, partner
--       score: of the id
--       publish_command, channel
--       frame: what live sockets get
--       log_ttl: ms; log_frames: kept
--       push_header: first line of the outbox entry, or '' for no push; push_body
--       push_subject: what the push replaces on the screen
--       grace: ms for which the push waits when the receiver has a live socket
--       user_member: of users
--       role: 'sender' or 'receiver'
--       before: in the second copy the id before this one in the first copy, or '*'
--       for any
--       handoff: in the first copy what pending keeps beside the id; else ''
--       pointer: member of handoffs; handoff_delay: ms until another process takes it
--       over
--       event: member of record_index for the record; once_event: for once
--       content: digest of what is sent
--       generation: the sender's when the message was accepted
--       test_time: microseconds, or '' for Redis' time
--       then the postings of the message
-- Reply {status, id, live_error}: 1 stored, id is the one before it; 0 stored before, as id;
--       -1 out of order, id is the newest one of this copy; -2 dropped because one of
--       the two was erased since it was accepted; -3 stored before as id, with other
--       content. live_error is as in common.lua

local record, meta, conversations, unread_conversations, conversation, messages, unread,
  bodies, words, log, counted, devices, outbox, delayed, users, heads, once, pending,
  handoffs, record_index, min_generation, unread_notifications = unpack(KEYS)
local id, record_ttl, message, conversation_id, partner, score, publish_command, channel,
  frame, log_ttl, log_frames, push_header, push_body, push_subject, grace, user_member,
  role, before, handoff, pointer, handoff_delay, event, once_event,
  content, generation, test_time = unpack(ARGV, 1, 26)
local FIRST_POSTING = 27
local is_first_copy = handoff ~= ''

-- Messages of an earlier generation of the sender are dropped. The sender's copy reads the
-- generation from meta; the receiver's copy reads the one that the erasure of the sender
-- left.
local erased, wanted = unpack(redis.call('HMGET', meta, 'erased', 'generation'))
if erased then return {-2, '', live_error} end
if role == 'receiver' then wanted = redis.call('GET', min_generation) end
if tonumber(generation) < tonumber(wanted or '0') then return {-2, '', live_error} end
local head = redis.call('HGET', heads, conversation_id) or ''
if is_first_copy then
  local stored = redis.call('GET', once)
  if stored then
    local stored_id, stored_content = string.match(stored, '^(%S+) (%S+)$')
    return {stored_content == content and 0 or -3, stored_id, live_error}
  end
  if id <= head then return {-1, head, live_error} end
elseif redis.call('EXISTS', record) == 1 then
  return {0, id, live_error}
elseif before ~= '*' and before ~= head then
  return {-1, head, live_error}
end

local pushed = role == 'receiver' and push_header ~= '' and redis.call('EXISTS', devices) == 1
expect('hash', conversation, bodies)
expect('zset', conversations, messages, unread, words, users, unread_conversations, record_index)
expect('zset', counted, unread_notifications)
if is_first_copy then expect('zset', pending, handoffs) end
if pushed then
  expect('stream', outbox)
  expect('zset', delayed)
end

local known = redis.call('HMGET', meta, 'seq', 'accepted', 'cart')
local seq, prev = digits(acceptance(known[1], known[2], test_time)), known[1] or '0'
log_frame(log, seq, prev, 'message', id, '', log_frames, log_ttl) -- first: this write may fail, the others cannot
redis.call('HSET', meta, 'seq', seq)
if prev == '0' then redis.call('ZADD', users, 0, user_member) end
-- A pending message may be below the head: a failover lost the first copy's newest
-- messages, which the second copy has, and the order began again. The message is late, but
-- not lost.
if id > head then redis.call('HSET', heads, conversation_id, id) end
redis.call('ZADD', conversations, 'GT', score, conversation_id)
redis.call('HSET', conversation, 'partner', partner)
redis.call('ZADD', messages, 0, id)
redis.call('ZADD', unread, 0, id)
redis.call('HSET', bodies, id, message)
local postings = {} -- after their scores
for i = FIRST_POSTING, #ARGV do postings[#postings + 1], postings[#postings + 2] = 0, ARGV[i] end
if #postings > 0 then redis.call('ZADD', words, unpack(postings)) end
if role == 'sender' then
  redis.call('ZADD', unread_conversations, 'XX', 'GT', score, conversation_id) -- in the same order as conversations
else
  redis.call('ZADD', unread_conversations, 'GT', score, conversation_id)
  redis.call('ZADD', counted, MESSAGE, id)
end
local listening = publish_with_unreads(publish_command, channel, 'message', seq, prev, id, frame, counted, unread_notifications, known[3])

local push = 'none'
if pushed then
  local entry = push_header .. '\n' .. push_body
  if listening > 0 and tonumber(grace) > 0 then
    redis.call('ZADD', delayed, due_at(delayed, grace), entry)
  else
    redis.call('XADD', outbox, '*', 'e', entry)
  end
  push = 'waiting'
  redis.call('HSET', meta, 'r:' .. push_subject, '0 0 - ' .. id)
end
index_record(record_index, record_ttl, event)
redis.call('SET', record, '- ' .. id .. ' ' .. seq .. ' ' .. listening .. ' ' .. push .. '\n', 'PX', record_ttl)
if is_first_copy then
  index_record(record_index, record_ttl, once_event)
  redis.call('SET', once, id .. ' ' .. content, 'PX', record_ttl)
  redis.call('ZADD', pending, 0, id .. handoff)
  redis.call('ZADD', handoffs, 'NX', due_at(handoffs, handoff_delay), pointer)
end
return {1, head, live_error}
