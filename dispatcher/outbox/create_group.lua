-- Creates a stream and its consumer group if they are missing. The group starts at 0,
-- because the stream may already have entries. It works at maxmemory; see doc.go.
--
-- KEYS  1 stream
-- ARGV  1 consumer group
-- Reply 1, or 0 when the group was there already

local stream, group = KEYS[1], ARGV[1]

redis.call('XDEL', stream, '0-0') -- no-op: a script whose first write Redis permits at maxmemory may write on
local made = redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
if not made.err then return 1 end
if string.find(made.err, 'BUSYGROUP', 1, true) then return 0 end
return made
