-- Sets fields of a user's profile. A tombstone is lifted, if that is asked for and
-- the user is not just being erased.
--
-- KEYS  1 meta  2 profile  3 users of the partition  4 erasures of the partition
-- ARGV  1 user  2 member of users  3 lift or leave  4… field and value, by turns
-- Reply 1, or 0 when the user is being erased, or was and the tombstone is left

local erased = redis.call('HGET', KEYS[1], 'erased')
if erased and (erased ~= 'done' or ARGV[3] ~= 'lift') then return 0 end
if erased then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[4], ARGV[1])
end
redis.call('ZADD', KEYS[3], 0, ARGV[2])
redis.call('HSET', KEYS[2], unpack(ARGV, 4))
return 1
