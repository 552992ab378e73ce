-- Counts one request against a limit, unless the limit is used up.
--
-- A limit permits a burst of requests, and one more every so many ms. The key expires when
-- the whole burst is permitted again, so its expiry is all that it holds.
--
-- Safe to repeat: a repeat after a lost reply counts the request once more.
--
-- KEYS[1]  string: the limit of a user or an address
-- ARGV[1]  the burst
-- ARGV[2]  ms until one more is permitted
--
-- Reply: 0, or the ms to wait until the next request is permitted, when nothing was counted
local limit_key = KEYS[1]
local burst, interval = tonumber(ARGV[1]), tonumber(ARGV[2])

-- A clock that has stepped back makes nobody wait longer than for one request.
local full = math.min(math.max(redis.call('PTTL', limit_key), 0), burst * interval) + interval
local wait = full - burst * interval
if wait > 0 then
  return wait
end
redis.call('SET', limit_key, '', 'PX', full)
return 0
