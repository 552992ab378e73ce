-- Counts a failed sign-in, unless there were too many already, in one step, so
-- that attempts made at once cannot slip past the limit together.
--
-- Safe to repeat: a repeat after a lost reply counts the failure once more, which
-- lets one guess fewer through until the window ends.
--
-- KEYS[1]  counter: failed attempts from this address
-- ARGV[1]  failures allowed in a window
-- ARGV[2]  the window in milliseconds
--
-- Reply: milliseconds until the window ends when there were too many, else -1.
local failures_key = KEYS[1]
local max_failures, window = tonumber(ARGV[1]), ARGV[2]

if tonumber(redis.call('GET', failures_key) or 0) >= max_failures then
  return math.max(redis.call('PTTL', failures_key), 0)
end
if redis.call('INCR', failures_key) == 1 then
  redis.call('PEXPIRE', failures_key, window)
end
return -1
