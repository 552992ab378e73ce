-- Begins to store a broadcast, which counts as accepted once its state is no longer
-- `preparing`.
--
-- KEYS  1 broadcast
-- ARGV  1 digest of what was sent  2 definition  3 when it expires, Unix ms
-- Reply 1 it is to be prepared (again, if an earlier request died: this definition
--       replaces that one), 0 it was accepted before, -1 it was accepted before with
--       other content

local broadcast = KEYS[1]
local content, definition, expires = ARGV[1], ARGV[2], ARGV[3]

local known = redis.call('HMGET', broadcast, 'content', 'state')
local known_content, state = known[1], known[2]
if known_content and known_content ~= content then return -1 end
if known_content and state ~= 'preparing' then return 0 end
redis.call('HSET', broadcast, 'content', content, 'definition', definition, 'state', 'preparing', 'fence', 0)
redis.call('PEXPIREAT', broadcast, expires)
return 1
