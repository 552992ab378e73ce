-- Replaces a string if it still is as the caller saw it.
--
-- KEYS  1 the string  2… keys to delete when it was replaced
-- ARGV  1 the string as it was seen; '': missing  2 the new one; '': delete it
--       3 how long it is kept, ms
-- Reply 1, or 0 when it has changed

local key = KEYS[1]
local seen, new, ttl = ARGV[1], ARGV[2], ARGV[3]

local is = redis.call('GET', key) or ''
if is == new then return 1 end -- a repeat after a lost reply
if is ~= seen then return 0 end
if new == '' then
  redis.call('DEL', key)
else
  redis.call('SET', key, new, 'PX', ttl)
end
for k = 2, #KEYS do redis.call('DEL', KEYS[k]) end
return 1
