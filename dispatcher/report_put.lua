-- Queues one report for a service.
--
-- KEYS  1 stream  2 due  3 mark of a report that is to be queued once, kept
--       as long as reports; absent: none
-- ARGV  1 how many reports are kept  2 for how long, ms
--       3 when it is to be sent, in ms from now  4 its id  5 its body
-- Reply {id of the entry, or '' when it was queued before, how many reports were
--       dropped to make room}

if KEYS[3] and not redis.call('SET', KEYS[3], ARGV[4], 'NX', 'PX', ARGV[2]) then return {'', 0} end
return {queue_report(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])}
