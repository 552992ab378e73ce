-- Compares the sets of a conversation with each other. With '' as the conversation it
-- checks the counted messages that belong to no conversation. A message that has a body
-- is left alone: it may have arrived after the caller read the bodies.
--
-- KEYS  messages, received_unread, sent_unread, bodies, counted, conversations,
--       unread_conversations, conversation, trash
-- ARGV  repair: 1 or 0
--       conversation_id: or ''
--       partner: or ''
--       then ids of messages
-- Reply [set, member, problem, …]

local messages, received_unread, sent_unread, bodies, counted, conversations,
  unread_conversations, conversation, trash = unpack(KEYS)
local repair, conversation_id, partner = ARGV[1] == '1', ARGV[2], ARGV[3]
local FIRST_ID = 4

expect('zset', messages, received_unread, sent_unread, counted, conversations, unread_conversations)
expect('hash', bodies, conversation)

local found = {}
-- report adds a finding; the command repairs it.
local function report(set, member, problem, command, ...)
  for _, v in ipairs({set, member, problem}) do found[#found + 1] = v end
  if repair and command then redis.call(command, ...) end
end

local purging = redis.call('EXISTS', trash) == 1 -- some bodies of deleted conversations are still there
for i = FIRST_ID, #ARGV do
  local id = ARGV[i]
  local has_body = redis.call('HEXISTS', bodies, id) == 1
  local is_message = redis.call('ZSCORE', messages, id)
  local just_arrived = conversation_id == '' and has_body
  if is_message and not has_body then
    report('messages', id, 'has no body', 'ZREM', messages, id)
    if repair then is_message = false end
  end
  if has_body and not is_message and not purging and not just_arrived then
    report('bodies', id, 'is in no conversation', 'HDEL', bodies, id, read_field(id))
  end
  if not has_body and redis.call('HEXISTS', bodies, read_field(id)) == 1 then
    report('bodies', read_field(id), 'is of no message', 'HDEL', bodies, read_field(id))
  end
  for set, key in pairs({unread = received_unread, unseen = sent_unread}) do
    if not is_message and redis.call('ZSCORE', key, id) then
      report(set, id, 'is in no conversation', 'ZREM', key, id)
    end
  end
  local is_counted = tonumber(redis.call('ZSCORE', counted, id) or '0') == MESSAGE
  local is_unread = is_message and redis.call('ZSCORE', received_unread, id)
  if is_unread and not is_counted then
    report('open', id, 'is unread and not counted', 'ZADD', counted, MESSAGE, id)
  elseif is_counted and not is_unread and not just_arrived then
    report('open', id, 'is counted and not unread', 'ZREM', counted, id)
  end
end
if conversation_id == '' then return found end

local newest = redis.call('ZREVRANGE', messages, 0, 0)[1]
local score = newest and score_of(newest)
local has_unread = redis.call('EXISTS', received_unread) == 1
for set, key in pairs({inboxes = conversations, ['inboxes:unread'] = unread_conversations}) do
  local is = redis.call('ZSCORE', key, conversation_id)
  local want = (set == 'inboxes' or has_unread) and score or nil
  if is and not want then
    report(set, conversation_id, 'should not be there', 'ZREM', key, conversation_id)
  elseif want and (not is or digits(tonumber(is)) ~= want) then
    report(set, conversation_id, 'is not where its newest message is', 'ZADD', key, want, conversation_id)
  end
end
local known = redis.call('EXISTS', conversation) == 1
if newest and not known then
  report('conversation', conversation_id, 'does not say with whom it is')
  if repair and partner ~= '' then redis.call('HSET', conversation, 'partner', partner) end
elseif known and not newest then
  report('conversation', conversation_id, 'has no messages', 'DEL', conversation)
end
return found
