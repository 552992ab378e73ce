-- Functions that all scripts share. NewScript puts those that a script uses before it: each
-- line that begins with "local" begins a definition, which uses only those before it.

-- digits formats an integer without the exponent that Lua's %g would write for a large one.
local function digits(n)
  return string.format('%.0f', n)
end

-- time_now is Redis' time in microseconds once the script has asked for it: a script that
-- works for several things asks once.
local time_now

-- micros returns Redis' time in microseconds.
local function micros()
  if not time_now then
    local t = redis.call('TIME')
    time_now = tonumber(t[1]) * 1000000 + tonumber(t[2])
  end
  return time_now
end

-- millis returns Redis' time in milliseconds.
local function millis()
  return math.floor(micros() / 1000)
end

-- message_of returns the text of what pcall has caught: one line, without the line of the
-- script, which the embedded Redis puts before it. A script that replies for several things
-- at once replies with such a text, never with an error inside of the reply: go-redis takes
-- some errors there for the whole reply, and what follows for the replies of other commands.
local function message_of(caught)
  if type(caught) == 'table' then return caught.err end
  local last = string.find(caught, '\n', 1, true) or #caught + 1
  local _, colon = string.find(caught, ': ', 1, true)
  return string.sub(caught, (colon or 0) + 1, last - 1)
end

-- expect fails unless each key is missing or has the type. Redis does not roll back the
-- writes of a script that fails, so call this before the first write. Name every key that
-- the script uses after its first write and has not read before it.
local function expect(type, ...)
  for _, key in ipairs({...}) do
    if type == 'zset' then
      redis.call('ZCARD', key)
    elseif type == 'hash' then
      redis.call('HLEN', key)
    elseif type == 'set' then
      redis.call('SCARD', key)
    elseif type == 'stream' then
      redis.call('XLEN', key)
    else
      error('expect: unknown type ' .. type)
    end
  end
end

-- Some sorted sets hold entries with a delay, scored with the time at which each is due.
-- Each such set has a clock of its own, which runs on when Redis' clock steps back:
-- otherwise the delays would grow by that step. The string SET:clock, in the hash slot of
-- the set, holds "SEEN AHEAD": Redis' time at the latest call of due_now, to the second,
-- and how far the set's clock is ahead of Redis' clock. The key exists while the set has
-- entries.

-- due_clock returns how far the set's clock is ahead of Redis' time now, and the time SEEN.
local function due_clock(set, now)
  local seen, ahead = string.match(redis.call('GET', set .. ':clock') or '0 0', '^(%d+) (%d+)$')
  return tonumber(ahead) + math.max(0, seen - now), tonumber(seen)
end

-- due_at returns the score of an entry that is due in delay ms. now replaces Redis' time in
-- tests.
local function due_at(set, delay, now)
  now = now or millis()
  return digits(now + due_clock(set, now) + delay)
end

-- ask_dismissal has the user's devices told, a second from now, what was read: so a run of
-- reads is told once. delayed is the delayed set of the user's partition in the urgent lane,
-- entry what the user's dismissal looks like there.
local function ask_dismissal(delayed, entry)
  redis.call('ZADD', delayed, 'NX', due_at(delayed, 1000), entry)
end

-- due_now returns the score up to which entries of the set are due. Call it at least once a
-- second: only due_now notices that Redis' clock has stepped back. now replaces Redis' time
-- in tests.
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

-- revoke stores that everything that a user's credentials have vouched for is refused from
-- now on, and closes the user's live sockets. It must not fail, since it runs beside other
-- writes: a key of another type is replaced, and sockets that are not told find the time in
-- Redis. The time is later than that of any earlier revocation, whatever the clock says.
local function revoke(revoked_key, ttl, publish_command, channel)
  local before = redis.pcall('GET', revoked_key)
  before = type(before) == 'string' and tonumber(before) or 0
  local at = digits(math.max(micros(), before + 1))
  redis.call('SET', revoked_key, at, 'PX', ttl)
  redis.pcall(publish_command, channel, 'revoked ' .. at .. ' 0 -\n')
  return at
end
