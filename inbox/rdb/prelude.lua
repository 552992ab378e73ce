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

local LENGTH = {zset = 'ZCARD', hash = 'HLEN', set = 'SCARD', stream = 'XLEN'}

-- expect fails unless each key is missing or of the type. Redis does not roll back what
-- a script wrote before it failed: call this before the first write for every key that
-- is written, or read, after it and was not read before it.
local function expect(type, ...)
  for _, key in ipairs({...}) do redis.call(LENGTH[type], key) end
end

