-- Moves the cursor past users who are not in the audience. may_step.lua stands before
-- this.
--
-- KEYS  1 walk
-- ARGV  1 fence  2 from  3 to (as may_step has them)  4 number of users skipped
-- Reply what may_step returns

local walk = KEYS[1]
local fence, from, to, skipped = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local may, _, skipped_before = may_step(walk, fence, from, to)
if may ~= 1 then return may end
redis.call('HSET', walk, 'cursor', to, 'skipped', digits(skipped_before + tonumber(skipped)))
return 1
