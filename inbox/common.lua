-- Definitions that the scripts of a user's inbox share. They stand before each script.

-- Counters: the scores of the sorted set `counted`. model.Counter has the same numbers.
local SELLER, BUYER, NEWS, OFFER_SELLER, OFFER_BUYER, MESSAGE = 1, 2, 3, 4, 5, 6

-- live_body, unless nil, is sent to live sockets in place of the notification's body, which
-- then is a reference to a broadcast.
local live_body

-- digits formats a large integer without the exponent that Lua's %g would write.
local function digits(n)
  return string.format('%.0f', n)
end

-- next_seq returns the user's next sequence number: the last one plus one, or the time in
-- microseconds when that is larger. So it never decreases, even after a failover. test_time
-- replaces Redis' time in tests; it is '' otherwise.
local function next_seq(last, test_time)
  if test_time ~= '' then return math.max(last + 1, tonumber(test_time)) end
  local t = redis.call('TIME')
  return math.max(last + 1, tonumber(t[1]) * 1000000 + tonumber(t[2]))
end

-- millis returns Redis' time in milliseconds.
local function millis()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- advance_seq raises the user's sequence number. It returns the new one and the one
-- before, as text. A user who had none is added to the partition's users.
local function advance_seq(meta, users, user_member)
  local last = tonumber(redis.call('HGET', meta, 'seq') or '0')
  if last == 0 then redis.call('ZADD', users, 0, user_member) end
  local seq = digits(next_seq(last, ''))
  redis.call('HSET', meta, 'seq', seq)
  return seq, digits(last)
end

-- score_of returns a number that sorts as a message's id does, to the microsecond.
local function score_of(id)
  return digits(tonumber(string.sub(id, 1, 13), 16))
end

-- is_erased reports whether the user's tombstone is there.
local function is_erased(meta)
  return redis.call('HEXISTS', meta, 'erased') == 1
end

-- index_record lists an event's record until it expires, so that erasing finds it.
local function index_record(record_index, ttl_ms, event)
  redis.call('ZADD', record_index, digits(millis() + tonumber(ttl_ms)), event)
end

-- told_by returns the id of the notification that told a subject's newest state.
-- subject_state is the subject's value in meta.
local function told_by(subject_state)
  return string.match(subject_state, '^%S+ %S+ (%S+)')
end

-- drop_stale_news removes from the counter NEWS the transactions whose notification is no
-- longer among the unread ones. It returns how many it removed.
local function drop_stale_news(counted, meta, unread)
  local dropped = 0
  for _, subject in ipairs(redis.call('ZRANGEBYSCORE', counted, NEWS, NEWS)) do
    local state = redis.call('HGET', meta, 'r:' .. subject)
    local told = state and told_by(state)
    if not told or not redis.call('ZSCORE', unread, told) then
      redis.call('ZREM', counted, subject)
      dropped = dropped + 1
    end
  end
  return dropped
end

-- log_frame adds a frame that is not in the list of notifications to the replay log.
-- body is empty where the body is kept elsewhere under the id.
local function log_frame(log, seq, prev, kind, id, body, max_frames, ttl_ms)
  redis.call('XADD', log, 'MAXLEN', '~', max_frames, seq .. '-0', 'i', id, 'p', prev, 'k', kind, 'b', body)
  redis.call('PEXPIRE', log, ttl_ms)
end

-- publish sends a frame to the user's live sockets and returns how many processes
-- listen. Frames that are not logged have the sequence numbers 0.
local function publish(publish_command, channel, kind, seq, prev, id, body)
  return redis.call(publish_command, channel, kind .. ' ' .. seq .. ' ' .. prev .. ' ' .. id .. '\n' .. body)
end

-- publish_unreads tells the user's live sockets that a counter has changed.
local function publish_unreads(publish_command, channel)
  publish(publish_command, channel, 'unreads', '0', '0', '-', '')
end
