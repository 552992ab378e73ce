-- Queues one report for a service.
--
-- KEYS  1 stream  2 due
--       3 mark that keeps the report from being queued twice; absent: none
-- ARGV  1 how many reports are kept  2 for how long, ms
--       3 when it is to be sent, in ms from now  4 id  5 body
-- Reply {id of the entry, or '' when the mark was there already,
--       how many reports were dropped to make room}

local stream, due, mark = KEYS[1], KEYS[2], KEYS[3]
local limit, keep, delay, id, body = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

if mark and not redis.call('SET', mark, id, 'NX', 'PX', keep) then return {'', 0} end
return {queue_report(stream, due, limit, keep, delay, id, body)}
