-- What the scripts of a user's inbox share. It stands before each of them.

-- Classes of the sorted set `open`, each the set behind one counter.
local SELLER, BUYER, NEWS, OFFER_SELLER, OFFER_BUYER, MESSAGE = 1, 2, 3, 4, 5, 6

-- size returns how many members of `open` are in a class.
local function size(open, class)
  return redis.call('ZCOUNT', open, class, class)
end

-- micros returns Redis' time in microseconds since 1970.
local function micros()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end

-- digits writes a number that is too large for Lua's %g without an exponent.
local function digits(n)
  return string.format('%.0f', n)
end

-- drop takes a notification out of every set but the list.
local function drop(id, notes, unread)
  redis.call('HDEL', notes, id)
  redis.call('SREM', unread, id)
end
