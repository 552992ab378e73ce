-- Executes one step of the erasure of a user:
--   bury    replaces meta by the tombstone, and raises the user's generation
--   resume  takes over an erasure whose process has died
--   finish  ends the erasure. The first time it schedules the erasure once more, because
--           operations that were under way may have stored data meanwhile; the second
--           time the erasure is done.
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
local state, generation = unpack(redis.call('HMGET', meta, 'erased', 'generation'))
generation = tonumber(generation or '0')
if step == 'bury' then
  redis.call('DEL', meta)
  state, generation = 'first', generation + 1
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
redis.call('HSET', meta, 'erased', state, 'generation', digits(generation))
redis.call('PEXPIRE', meta, tombstone_ttl)
redis.call('ZADD', erasures, digits(millis() + tonumber(due_in)), user)
return 1
