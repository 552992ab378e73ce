-- What the scripts of a user's inbox share. It stands before each of them.

-- Classes of the sorted set `open`, each the set behind one counter.
local SELLER, BUYER, NEWS, OFFER_SELLER, OFFER_BUYER, MESSAGE = 1, 2, 3, 4, 5, 6

-- live_body is what live sockets get in place of a notification's body that only
-- refers to a broadcast; nil: the body itself.
local live_body

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

-- millis returns Redis' time in milliseconds.
local function millis()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- advance raises the user's sequence number. It returns the new one and the one
-- before, as text. A user who had none enters the partition's users.
local function advance(meta, users, member)
  local last = tonumber(redis.call('HGET', meta, 'seq') or '0')
  if last == 0 then redis.call('ZADD', users, 0, member) end
  local seq = digits(next_seq(last, ''))
  redis.call('HSET', meta, 'seq', seq)
  return seq, digits(last)
end

-- score_of returns a number that sorts as a message's id does, to the microsecond.
local function score_of(id)
  return digits(tonumber(string.sub(id, 1, 13), 16))
end

-- was_erased reports whether the user's tombstone stands.
local function was_erased(meta)
  return redis.call('HEXISTS', meta, 'erased') == 1
end

-- remember_record notes an event's record, so that erasing finds it while it lives.
local function remember_record(records, life, event)
  redis.call('ZADD', records, digits(millis() + tonumber(life)), event)
end

-- forget_news takes the news of transactions out of their counter whose
-- notification is unread no more because it is kept no more.
local function forget_news(open, meta, unread)
  local gone = 0
  for _, subject in ipairs(redis.call('ZRANGEBYSCORE', open, NEWS, NEWS)) do
    local state = redis.call('HGET', meta, 'r:' .. subject)
    local told = state and string.match(state, '^%S+ %S+ (%S+)')
    if not told or not redis.call('ZSCORE', unread, told) then
      redis.call('ZREM', open, subject)
      gone = gone + 1
    end
  end
  return gone
end

-- log_frame notes a frame that is in no list for sockets that come back: kind and
-- id say what it shows, body is the rest where nothing else keeps it.
local function log_frame(log, seq, prev, kind, id, body, frames, life)
  redis.call('XADD', log, 'MAXLEN', '~', frames, seq .. '-0', 'i', id, 'p', prev, 'k', kind, 'b', body)
  redis.call('PEXPIRE', log, life)
end

-- publish hands a frame to the user's live sockets and returns how many processes
-- listen. Frames that are not logged have the sequence numbers 0.
local function publish(command, channel, kind, seq, prev, id, body)
  return redis.call(command, channel, kind .. ' ' .. seq .. ' ' .. prev .. ' ' .. id .. '\n' .. body)
end
