-- Takes a step of erasing a user: "bury" raises the tombstone in place of what meta
-- held, "resume" goes on with what somebody has left, "finish" says that it is done:
-- the first time for now, because what was under way may have left something, the
-- second time for good.
--
-- KEYS  1 meta  2 erasures of the partition
-- ARGV  1 user  2 bury, resume or finish  3 how long the tombstone stands, ms
--       4 when somebody else goes on, or it is done again, ms from now
-- Reply 1, or 0 when the user is not being erased (any more)

local meta, user, step = KEYS[1], ARGV[1], ARGV[2]
local state = redis.call('HGET', meta, 'erased')
local again = digits(millis() + tonumber(ARGV[4]))
if step == 'bury' then
  redis.call('DEL', meta)
  state = 'first'
elseif not state then -- it was lifted, or has expired
  redis.call('ZREM', KEYS[2], user)
  return 0
elseif step == 'resume' then
  if state == 'done' then state = 'second' end
elseif state == 'second' then
  redis.call('HSET', meta, 'erased', 'done')
  redis.call('ZREM', KEYS[2], user)
  return 1
else
  state = 'done'
end
redis.call('HSET', meta, 'erased', state)
redis.call('PEXPIRE', meta, ARGV[3])
redis.call('ZADD', KEYS[2], again, user)
return 1
