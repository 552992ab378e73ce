-- Counts an attempt to sign in as a failure of its address, unless there were too many
-- already, in one step, so that attempts made at once cannot slip past the limits together.
-- All failures of an address are in one key, which has a bounded number of users.
--
-- Safe to repeat: a repeat after a lost reply counts once more, which lets one guess fewer
-- through until the window ends.
--
-- KEYS[1]  hash: user to failures, of this address
-- KEYS[2]  string: the budget of upstream calls of this address. It expires when the whole
--          budget is there again, so its expiry is all that it holds.
-- ARGV[1]  the user
-- ARGV[2]  failures allowed as one user
-- ARGV[3]  users allowed
-- ARGV[4]  the window in ms, counted from the first failure of the address
-- ARGV[5]  1 to count; 0 to look only
-- ARGV[6]  upstream calls allowed at once; 0: none is made, and none is counted
-- ARGV[7]  ms until one more is allowed
--
-- Reply: { limit, ms until the next attempt is allowed }. The limit is
--   0  none: the attempt was counted
--   1  too many failures as this user
--   2  too many users
--   3  too many upstream calls
local failures_key, calls_key = KEYS[1], KEYS[2]
local user, max_failures, max_users, window = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local count, burst, interval = ARGV[5] == '1', tonumber(ARGV[6]), tonumber(ARGV[7])

local failures = tonumber(redis.call('HGET', failures_key, user) or 0)
if failures >= max_failures then
  return { 1, redis.call('PTTL', failures_key) }
end
if failures == 0 and redis.call('HLEN', failures_key) >= max_users then
  return { 2, redis.call('PTTL', failures_key) }
end
if not count then
  return { 0, 0 }
end
if burst > 0 then
  -- A clock that has stepped back makes nobody wait longer than for one call.
  local full = math.min(math.max(redis.call('PTTL', calls_key), 0), burst * interval) + interval
  local wait = full - burst * interval
  if wait > 0 then
    return { 3, wait }
  end
  redis.call('SET', calls_key, '', 'PX', full)
end
redis.call('HINCRBY', failures_key, user, 1)
if redis.call('PTTL', failures_key) < 0 then
  redis.call('PEXPIRE', failures_key, window)
end
return { 0, 0 }
