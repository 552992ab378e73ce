-- Sets fields of a user's profile. A tombstone is removed if that is asked for and the
-- user is not being erased at the moment.
--
-- KEYS  meta, profile
--       users, erasures: of the partition
-- ARGV  user
--       user_member: of users
--       tombstone: 'lift' or 'leave'
--       then fields and values, alternating
-- Reply 1, or 0 when the user is being erased, or was and the tombstone is left

local meta, profile, users, erasures = unpack(KEYS)
local user, user_member, tombstone = unpack(ARGV, 1, 3)
local FIRST_FIELD = 4

local erased, generation = unpack(redis.call('HMGET', meta, 'erased', 'generation'))
if erased and (erased ~= 'done' or tombstone ~= 'lift') then return 0 end
expect('hash', profile)
expect('zset', users, erasures)
if erased then
  redis.call('DEL', meta)
  if generation then redis.call('HSET', meta, 'generation', generation) end
  redis.call('ZREM', erasures, user)
end
redis.call('ZADD', users, 0, user_member)
redis.call('HSET', profile, unpack(ARGV, FIRST_FIELD))
return 1
