-- Queues reports in the script that settles an entry.
--
-- keys  1 stream  2 due
-- args  1 how many reports are kept  2 for how long, ms  3… id and body of each report
-- Returns how many reports were dropped to make room.

local stream, due, limit, keep = keys[1], keys[2], args[1], args[2]
local dropped = 0
for i = 3, #args, 2 do
  local id, body = args[i], args[i + 1]
  local _, n = queue_report(stream, due, limit, keep, 0, id, body)
  dropped = dropped + n
end
return dropped
