-- Removes bodies and postings of deleted messages.
--
-- KEYS  1 what messages was  2 trash  3 bodies  4 words
-- ARGV  1 number of ids, then the ids, then postings
-- Reply 1

local n = tonumber(ARGV[1])
for i = 2, n + 1 do
  redis.call('ZREM', KEYS[1], ARGV[i])
  redis.call('HDEL', KEYS[3], ARGV[i])
end
for i = n + 2, #ARGV do redis.call('ZREM', KEYS[4], ARGV[i]) end
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SREM', KEYS[2], KEYS[1]) end
return 1
