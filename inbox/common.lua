-- What the scripts of a user's inbox share. It stands before each of them.

-- Classes of the sorted set `open`, each the set behind one counter.
local SELLER, BUYER, NEWS, OFFER_SELLER, OFFER_BUYER, MESSAGE = 1, 2, 3, 4, 5, 6

-- digits writes a number that is too large for Lua's %g without an exponent.
local function digits(n)
  return string.format('%.0f', n)
end

-- next_seq returns the user's next sequence number, which never runs back, not
-- after a failover either: the last one plus one, or Redis' time in microseconds,
-- or the time of tests.
local function next_seq(last, test)
  if test ~= '' then return math.max(last + 1, tonumber(test)) end
  local t = redis.call('TIME')
  return math.max(last + 1, tonumber(t[1]) * 1000000 + tonumber(t[2]))
end
