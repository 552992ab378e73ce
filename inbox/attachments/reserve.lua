-- Lists a file that a user sends, before it is written, unless the user's files would take
-- more than the quota.
--
-- Safe to repeat: a file that is listed is not counted again.
--
-- KEYS[1]  sorted set: the user's files, by the time of their upload in ms
-- KEYS[2]  hash: the size of each file, and of all as "total", in bytes
-- ARGV[1]  the file's path
-- ARGV[2]  its size
-- ARGV[3]  the quota in bytes; 0 is none
--
-- Reply: 0, or how many bytes the user's files take already, when nothing was listed
local files_key, sizes_key = KEYS[1], KEYS[2]
local path, size, quota = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

expect('zset', files_key)
expect('hash', sizes_key)
local listed = redis.call('HEXISTS', sizes_key, path) == 1
if not listed then
  local total = tonumber(redis.call('HGET', sizes_key, 'total') or 0)
  if quota > 0 and total + size > quota then
    return total
  end
  redis.call('HSET', sizes_key, path, size)
  redis.call('HINCRBY', sizes_key, 'total', size)
end
redis.call('ZADD', files_key, millis(), path)
return 0
