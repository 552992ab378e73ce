-- What all scripts share: NewScript puts it before each of them.

-- digits writes an integer that is too large for Lua's %g without an exponent.
local function digits(n)
  return string.format('%.0f', n)
end

-- micros returns Redis' time in microseconds.
local function micros()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end

-- millis returns Redis' time in milliseconds.
local function millis()
  return math.floor(micros() / 1000)
end

local LENGTH = {
  zset = function(key) redis.call('ZCARD', key) end,
  hash = function(key) redis.call('HLEN', key) end,
  set = function(key) redis.call('SCARD', key) end,
  stream = function(key) redis.call('XLEN', key) end,
}

-- expect fails unless each key is missing or of the type. Redis does not roll back what
-- a script wrote before it failed: call this before the first write for every key that
-- is written, or read, after it and was not read before it.
local function expect(type, ...)
  for _, key in ipairs({...}) do LENGTH[type](key) end
end

-- Sorted sets of what waits are scored with the times at which that ends. The times are
-- those of a clock of the set that goes on while Redis' clock steps back: otherwise what
-- waits would wait as much longer. The string SET:clock, in the slot of the set, holds
-- "SEEN AHEAD": Redis' time when due_now was called last, to the second, and how far the
-- clock of the set is ahead of Redis'. It exists while something waits.

-- due_clock returns how far the set's clock is ahead at Redis' time now, and what was
-- seen.
local function due_clock(set, now)
  local seen, ahead = string.match(redis.call('GET', set .. ':clock') or '0 0', '^(%d+) (%d+)$')
  return tonumber(ahead) + math.max(0, seen - now), tonumber(seen)
end

-- due_at returns the score of what is to wait in the set for delay ms. now replaces Redis'
-- time in tests.
local function due_at(set, delay, now)
  now = now or millis()
  return digits(now + due_clock(set, now) + delay)
end

-- due_now returns the score up to which what waits in the set is due. It must be called
-- at least every second, since it alone notices that Redis' clock stepped back. now
-- replaces Redis' time in tests.
local function due_now(set, now)
  now = now or millis()
  local ahead, seen = due_clock(set, now)
  if redis.call('EXISTS', set) == 0 then
    if seen > 0 then redis.call('DEL', set .. ':clock') end
  elseif now < seen or now >= seen + 1000 then
    redis.call('SET', set .. ':clock', digits(now) .. ' ' .. digits(ahead))
  end
  return digits(now + ahead)
end

