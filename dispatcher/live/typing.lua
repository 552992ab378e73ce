-- Tells a user's live sockets that another user is typing, unless they were told a moment
-- ago, through whatever socket or process.
--
-- Safe to repeat: a repeat after a lost reply says that they were told before.
--
-- KEYS  1 string that expires: the user was told
-- ARGV  1 for how long that is enough, ms  2 publish or spublish  3 the user's channel
--       4 the frame
-- Reply 1, or 0 when they were told before

if not redis.call('SET', KEYS[1], '', 'NX', 'PX', ARGV[1]) then return 0 end
redis.pcall(ARGV[2], ARGV[3], ARGV[4])
return 1
