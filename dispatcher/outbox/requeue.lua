-- Returns a dead letter to the outbox, or drops it. It works at maxmemory; see doc.go.
--
-- KEYS  1 dead letters  2 stream (or the dead letters again: drop)
-- ARGV  1 id of the dead letter  2 entry
-- Reply 1, or 0 when there is no such dead letter

local dead, stream = KEYS[1], KEYS[2]
local id, entry = ARGV[1], ARGV[2]

if #redis.call('XRANGE', dead, id, id) == 0 then return 0 end
if stream ~= dead then
  redis.call('XDEL', dead, '0-0') -- no-op: a script whose first write Redis permits at maxmemory may write on
  redis.call('XADD', stream, '*', 'e', entry)
end
redis.call('XDEL', dead, id) -- last: if an error stops the script, the letter is not lost
return 1
