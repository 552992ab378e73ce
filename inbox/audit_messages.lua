-- Compares the sets of a conversation with each other. A counted message of none may
-- have come since its caller read the bodies: one that has a body is left alone.
--
-- KEYS  1 messages  2 received  3 sent  4 bodies  5 open  6 inboxes  7 unread inboxes
--       8 conversation  9 trash
-- ARGV  1 repair: 1 or 0  2 conversation id, or '' for messages of none
--       3 partner, or ''  4… ids of messages
-- Reply [set, member, problem, …]

local repair, conversation, found = ARGV[1] == '1', ARGV[2], {}
local function find(set, member, problem, command, ...)
  for _, v in ipairs({set, member, problem}) do found[#found + 1] = v end
  if repair and command then redis.call(command, ...) end
end
local purging = redis.call('EXISTS', KEYS[9]) == 1 -- bodies of deleted conversations are to go still
for i = 4, #ARGV do
  local id = ARGV[i]
  local body = redis.call('HEXISTS', KEYS[4], id) == 1
  local message = redis.call('ZSCORE', KEYS[1], id)
  local arrived = conversation == '' and body
  if message and not body then
    find('messages', id, 'has no body', 'ZREM', KEYS[1], id)
    if repair then message = false end
  end
  if body and not message and not purging and not arrived then
    find('bodies', id, 'is in no conversation', 'HDEL', KEYS[4], id)
  end
  for set, key in pairs({unread = KEYS[2], unseen = KEYS[3]}) do
    if not message and redis.call('ZSCORE', key, id) then
      find(set, id, 'is in no conversation', 'ZREM', key, id)
    end
  end
  local counted = tonumber(redis.call('ZSCORE', KEYS[5], id) or '0') == MESSAGE
  local unread = message and redis.call('ZSCORE', KEYS[2], id)
  if unread and not counted then
    find('open', id, 'is unread and not counted', 'ZADD', KEYS[5], MESSAGE, id)
  elseif counted and not unread and not arrived then
    find('open', id, 'is counted and not unread', 'ZREM', KEYS[5], id)
  end
end
if conversation == '' then return found end

local newest = redis.call('ZREVRANGE', KEYS[1], 0, 0)[1]
local score = newest and score_of(newest)
local unread = redis.call('EXISTS', KEYS[2]) == 1
for set, key in pairs({inboxes = KEYS[6], ['inboxes:unread'] = KEYS[7]}) do
  local is = redis.call('ZSCORE', key, conversation)
  local want = (set == 'inboxes' or unread) and score or nil
  if is and not want then
    find(set, conversation, 'should not be there', 'ZREM', key, conversation)
  elseif want and (not is or digits(tonumber(is)) ~= want) then
    find(set, conversation, 'is not where its newest message is', 'ZADD', key, want, conversation)
  end
end
local known = redis.call('EXISTS', KEYS[8]) == 1
if newest and not known then
  find('conversation', conversation, 'does not say with whom it is')
  if repair and ARGV[3] ~= '' then redis.call('HSET', KEYS[8], 'partner', ARGV[3]) end
elseif known and not newest then
  find('conversation', conversation, 'has no messages', 'DEL', KEYS[8])
end
return found
