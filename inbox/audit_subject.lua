-- Compares the counter that subjects are in with what their newest states say.
--
-- KEYS  1 meta  2 open  3 unread
-- ARGV  1 repair: 1 or 0
--       2… of each subject: itself, what meta says of it or '', and the class that it
--       should have: 0 for none, or '' where only its being known is to be looked at;
--       TransactionNews holds as long as the notification that told it is unread
-- Reply [set, member, problem, …]

local repair, found = ARGV[1] == '1', {}
for i = 2, #ARGV, 3 do
  local subject, state, want = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local class = redis.call('ZSCORE', KEYS[2], subject)
  class = class and tonumber(class) or 0
  if (redis.call('HGET', KEYS[1], 'r:' .. subject) or '') == state then -- else something has come
    local problem
    if state == '' then
      want, problem = 0, class ~= 0 and 'has no state'
    elseif want == '' then
      problem = 'has not the class of its state'
    else
      want = tonumber(want)
      if want == NEWS and not redis.call('ZSCORE', KEYS[3], string.match(state, '^%S+ %S+ (%S+)')) then want = 0 end
      problem = class ~= want and 'has class ' .. class .. ', should have ' .. want
    end
    if problem then
      for _, v in ipairs({'open', subject, problem}) do found[#found + 1] = v end
      if repair and want == 0 then redis.call('ZREM', KEYS[2], subject) end
      if repair and want ~= 0 and want ~= '' then redis.call('ZADD', KEYS[2], want, subject) end
    end
  end
end
return found
