-- Compares the unread notifications with the list of notifications, and the count of
-- notifications in meta with the length of the list.
--
-- KEYS  meta, notifications, unread, users: of the partition
-- ARGV  repair: 1 or 0
--       user_member: of users
--       then ids of unread notifications
-- Reply [set, member, problem, …]

local meta, notifications, unread, users = unpack(KEYS)
local repair, user_member = ARGV[1] == '1', ARGV[2]
local FIRST_ID = 3

expect('hash', meta)
expect('stream', notifications)
expect('zset', unread, users)

local found = {}
local function report(set, member, problem)
  for _, v in ipairs({set, member, problem}) do found[#found + 1] = v end
end

for i = FIRST_ID, #ARGV do
  local id = ARGV[i]
  local seq = redis.call('ZSCORE', unread, id)
  if seq then
    seq = digits(tonumber(seq))
    local entry = redis.call('XRANGE', notifications, seq, seq)[1]
    if not entry or entry[2][2] ~= id then
      report('unread', id, 'is in no list')
      if repair then redis.call('ZREM', unread, id) end
    end
  end
end
local known = redis.call('HMGET', meta, 'kept', 'seq')
local length = redis.call('XLEN', notifications)
if tonumber(known[1] or '0') < length then
  report('meta', 'kept', 'is less than the ' .. length .. ' that are kept')
  if repair then redis.call('HSET', meta, 'kept', length) end
end
if known[2] and not redis.call('ZSCORE', users, user_member) then
  report('users', user_member, 'is not listed')
  if repair then redis.call('ZADD', users, 0, user_member) end
end
return found
