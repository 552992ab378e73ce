-- Takes a device token away from its owner, if it still is of the generation
-- that the caller saw. What is left remembers the generation for a while, and
-- lets a call that is repeated because its answer was lost succeed again.
--
-- KEYS[1]  string: the token's owner record
-- ARGV[1]  the user
-- ARGV[2]  the generation
-- ARGV[3]  seconds to remember it
--
-- Reply: 1 when nobody owns that generation (any more), 0 when the record is
-- another one or gone
local record = redis.call('GET', KEYS[1])
local released = '0 ' .. ARGV[2] .. ' 0'
if record == released then
  return 1
end
local user, generation = string.match(record or '', '^(%d+) (%d+) ')
if user ~= ARGV[1] or generation ~= ARGV[2] then
  return 0
end
redis.call('SET', KEYS[1], released, 'EX', ARGV[3])
return 1
