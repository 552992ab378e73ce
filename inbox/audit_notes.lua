-- Compares unread notifications with the list, and what is known of the list.
--
-- KEYS  1 meta  2 notes  3 unread  4 users of the partition
-- ARGV  1 repair: 1 or 0  2 member of users  3… ids of unread notifications
-- Reply [set, member, problem, …]

local repair, found = ARGV[1] == '1', {}
local function find(set, member, problem)
  for _, v in ipairs({set, member, problem}) do found[#found + 1] = v end
end
for i = 3, #ARGV do
  local seq = redis.call('ZSCORE', KEYS[3], ARGV[i])
  if seq then
    seq = digits(tonumber(seq))
    local note = redis.call('XRANGE', KEYS[2], seq, seq)[1]
    if not note or note[2][2] ~= ARGV[i] then
      find('unread', ARGV[i], 'is in no list')
      if repair then redis.call('ZREM', KEYS[3], ARGV[i]) end
    end
  end
end
local known = redis.call('HMGET', KEYS[1], 'kept', 'seq')
local kept = redis.call('XLEN', KEYS[2])
if tonumber(known[1] or '0') < kept then
  find('meta', 'kept', 'is less than the ' .. kept .. ' that are kept')
  if repair then redis.call('HSET', KEYS[1], 'kept', kept) end
end
if known[2] and not redis.call('ZSCORE', KEYS[4], ARGV[2]) then
  find('users', ARGV[2], 'is not listed')
  if repair then redis.call('ZADD', KEYS[4], 0, ARGV[2]) end
end
return found
