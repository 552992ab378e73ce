-- Takes a step of erasing a user:
--   bury    puts the tombstone in place of meta
--   resume  continues an erasure whose process has died
--   finish  ends the erasure. The first time it is scheduled once more, because what
--           was under way may have stored something meanwhile; the second time it is
--           done.
--
-- KEYS  meta, erasures: of the partition
-- ARGV  user
--       step: bury, resume or finish
--       tombstone_ttl: ms
--       due_in: ms from now until another process takes the erasure over
-- Reply 1, or 0 when the user is not being erased (any more)

local meta, erasures = unpack(KEYS)
local user, step, tombstone_ttl, due_in = unpack(ARGV)

expect('zset', erasures)
local state = redis.call('HGET', meta, 'erased')
if step == 'bury' then
  redis.call('DEL', meta)
  state = 'first'
elseif not state then -- the tombstone was lifted, or has expired
  redis.call('ZREM', erasures, user)
  return 0
elseif step == 'resume' then
  if state == 'done' then state = 'second' end
elseif state == 'second' then
  redis.call('HSET', meta, 'erased', 'done')
  redis.call('ZREM', erasures, user)
  return 1
else
  state = 'done'
end
redis.call('HSET', meta, 'erased', state)
redis.call('PEXPIRE', meta, tombstone_ttl)
redis.call('ZADD', erasures, digits(millis() + tonumber(due_in)), user)
return 1
