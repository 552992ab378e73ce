-- Unlists a file that was deleted.
--
-- KEYS[1]  sorted set: the user's files, by the time of their upload in ms
-- KEYS[2]  hash: the size of each file, and of all as "total", in bytes
-- ARGV[1]  the file's path
--
-- Reply: 1, or 0 when it was not listed
local files_key, sizes_key = KEYS[1], KEYS[2]
local path = ARGV[1]

expect('zset', files_key)
expect('hash', sizes_key)
local removed = redis.call('ZREM', files_key, path)
local size = tonumber(redis.call('HGET', sizes_key, path) or 0)
if redis.call('HDEL', sizes_key, path) == 1 and redis.call('HINCRBY', sizes_key, 'total', -size) <= 0 then
  redis.call('HDEL', sizes_key, 'total')
end
return removed
