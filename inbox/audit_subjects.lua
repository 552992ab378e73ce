-- Compares the counter that each subject is in with the one that its newest state enters.
--
-- KEYS  meta, counted, unread
-- ARGV  repair: 1 or 0
--       then of each subject three values: the subject, its value in meta as the caller
--       read it or '', and the counter that it should be in: 0 for none, '' when unknown.
--       NEWS is right only while the notification that told the state is unread.
-- Reply [set, member, problem, …]

local meta, counted, unread = unpack(KEYS)
local repair = ARGV[1] == '1'
local FIRST_SUBJECT = 2

expect('hash', meta)
expect('zset', counted, unread)

local found = {}
for i = FIRST_SUBJECT, #ARGV, 3 do
  local subject, state, want = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local counter = tonumber(redis.call('ZSCORE', counted, subject) or '0')
  if (redis.call('HGET', meta, 'r:' .. subject) or '') == state then -- else a newer state has come meanwhile
    local problem
    if state == '' then
      want, problem = 0, counter ~= 0 and 'has no state'
    elseif want == '' then
      problem = 'has not the class of its state'
    else
      want = tonumber(want)
      if want == NEWS and not redis.call('ZSCORE', unread, told_by(state)) then want = 0 end
      problem = counter ~= want and 'has class ' .. counter .. ', should have ' .. want
    end
    if problem then
      for _, v in ipairs({'open', subject, problem}) do found[#found + 1] = v end
      if repair and want == 0 then redis.call('ZREM', counted, subject) end
      if repair and want ~= 0 and want ~= '' then redis.call('ZADD', counted, want, subject) end
    end
  end
end
return found
