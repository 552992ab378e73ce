-- Takes a walker past users who are not of the audience.
--
-- KEYS  1 walk
-- ARGV  1 fence  2 from  3 to (as step has them)  4 how many users that are
-- Reply what step says

local may = step(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
if may ~= 1 then return may end
redis.call('HSET', KEYS[1], 'cursor', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'skipped', ARGV[4])
return 1
