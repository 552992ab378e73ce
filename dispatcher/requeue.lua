-- Returns a dead letter to the outbox, or drops it.
--
-- KEYS  1 dead  2 stream (or dead again: drop)
-- ARGV  1 id  2 entry
-- Reply 1, or 0 when there is no such dead letter

if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return 0 end
if KEYS[2] ~= KEYS[1] then redis.call('XADD', KEYS[2], '*', 'e', ARGV[2]) end
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
