-- Sets fields of a user's profile. A tombstone is lifted, unless the user is just
-- being erased.
--
-- KEYS  1 meta  2 profile  3 users of the partition  4 erasures of the partition
-- ARGV  1 user  2 member of users  3… field and value, by turns
-- Reply 1, or 0 when the user is being erased

local erased = redis.call('HGET', KEYS[1], 'erased')
if erased and erased ~= 'done' then return 0 end
if erased then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[4], ARGV[1])
end
redis.call('ZADD', KEYS[3], 0, ARGV[2])
redis.call('HSET', KEYS[2], unpack(ARGV, 3))
return 1
