-- Counts a failed sign-in, unless there were too many already, in one step, so
-- that attempts made at once cannot slip past the limit together.
--
-- KEYS[1]  counter: failed attempts from this address
-- ARGV[1]  failures allowed in a window
-- ARGV[2]  the window in milliseconds
--
-- Reply: milliseconds until the window ends when there were too many, else -1.
if tonumber(redis.call('GET', KEYS[1]) or 0) >= tonumber(ARGV[1]) then
  return math.max(redis.call('PTTL', KEYS[1]), 0)
end
if redis.call('INCR', KEYS[1]) == 1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return -1
