-- Definitions that the scripts of a user's inbox share. A script gets those that it uses, as
-- of prelude.lua.

-- Counters: the scores of the sorted set `counted`. model.Counter has the same numbers.
local SELLER, BUYER, NEWS, OFFER_SELLER, OFFER_BUYER, MESSAGE = 1, 2, 3, 4, 5, 6

-- live_body, unless nil, is sent to live sockets in place of the notification's body, which
-- then is a reference to a broadcast.
local live_body

-- scheduled_record, unless nil, is the record of a scheduled event that is to be stored now.
local scheduled_record

-- acceptance returns the time at which the user's event or frame is accepted, in
-- microseconds: Redis' time, or the last acceptance plus one if that is later. So it always
-- increases, even after a failover or when Redis' clock steps back. The acceptance is the
-- sequence number of frames that have one, the time in ids, and the order of states without
-- a time of their own. last_seq and last_accepted are the fields seq and accepted of meta;
-- test_time replaces Redis' time in tests, and is '' otherwise.
local function acceptance(last_seq, last_accepted, test_time)
  local now = test_time == '' and micros() or tonumber(test_time)
  return math.max(now, tonumber(last_seq or '0') + 1, tonumber(last_accepted or '0') + 1)
end

-- lifetime returns two members of an outbox entry: until when the push is of use, and until
-- when it is retried. They are ttl and retry_for ms after its acceptance.
local function lifetime(accepted, ttl, retry_for)
  local ms = math.floor(accepted / 1000)
  return ',"x":' .. digits(ms + ttl) .. ',"r":' .. digits(ms + retry_for)
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

-- sizes_of returns the sizes of the counters, by counter.
local function sizes_of(counted)
  local size = {0, 0, 0, 0, 0, 0}
  local members = redis.call('ZRANGE', counted, 0, 32, 'WITHSCORES')
  if #members > 64 then -- there may be very many
    for counter = 1, 6 do size[counter] = redis.call('ZCOUNT', counted, counter, counter) end
  else
    for i = 2, #members, 2 do
      local counter = tonumber(members[i])
      size[counter] = (size[counter] or 0) + 1
    end
  end
  return size
end

-- counts_of returns the user's counts in the order of model.Unreads: those of messages,
-- seller's transactions, news, notifications, buyer's transactions, cart items, seller's
-- offers and buyer's offers. unread holds the user's unread notifications; cart is the field
-- of meta, or false.
local function counts_of(counted, unread, cart)
  local size = sizes_of(counted)
  return {
    size[MESSAGE], size[SELLER], size[NEWS], redis.call('ZCARD', unread), size[BUYER],
    tonumber(cart or '0'), size[OFFER_SELLER], size[OFFER_BUYER],
  }
end

-- heard holds, for each channel that was asked for, whether any process is subscribed.
local heard = {}

-- ask_heard asks which of the channels any process is subscribed to. All count as heard when
-- Redis does not say.
local function ask_heard(publish_command, channels)
  local reply
  if publish_command == 'spublish' then
    reply = redis.pcall('PUBSUB', 'SHARDNUMSUB', unpack(channels))
  else
    reply = redis.pcall('PUBSUB', 'NUMSUB', unpack(channels))
  end
  for n, channel in ipairs(channels) do heard[channel] = reply.err ~= nil or reply[2 * n] > 0 end
end

-- is_heard reports whether any process is subscribed to the channel.
local function is_heard(publish_command, channel)
  if heard[channel] == nil then ask_heard(publish_command, {channel}) end
  return heard[channel]
end

-- read_field returns the field of bodies that says when a message was read.
local function read_field(id) return 'r' .. id end

-- note_read notes when messages were read by their receiver, in seconds. There is at least
-- one message.
local function note_read(bodies, ids, read_at)
  local fields = {}
  for _, id in ipairs(ids) do
    fields[#fields + 1] = read_field(id)
    fields[#fields + 1] = read_at
  end
  redis.call('HSET', bodies, unpack(fields))
end

-- log_frame adds a frame that is not in the list of notifications to the replay log.
-- body is empty where the body is kept elsewhere under the id.
local function log_frame(log, seq, prev, kind, id, body, max_frames, ttl_ms)
  redis.call('XADD', log, 'MAXLEN', '~', max_frames, seq .. '-0', 'i', id, 'p', prev, 'k', kind, 'b', body)
  redis.call('PEXPIRE', log, ttl_ms)
end

-- live_error is the error of publishing a frame to live sockets, or ''.
local live_error = ''

-- publish sends a frame to the user's live sockets and returns how many processes received
-- it. Frames that are not logged have the sequence numbers 0. publish must not fail: it
-- runs after writes, and the Redis user may lack the right to the channel. Sockets read the
-- frames that they missed from the list and the log. unreads are the user's counts, or nil.
local function publish(publish_command, channel, kind, seq, prev, id, body, unreads)
  local head = kind .. ' ' .. seq .. ' ' .. prev .. ' ' .. id
  if unreads then head = head .. ' ' .. unreads end
  local listening = redis.pcall(publish_command, channel, head .. '\n' .. body)
  if type(listening) == 'number' then return listening end
  live_error = listening.err
  return 0
end

-- publish_with_unreads publishes a frame with the user's counts. It does not count when
-- nobody is subscribed at this node. counted, unread and cart are as in counts_of.
local function publish_with_unreads(publish_command, channel, kind, seq, prev, id, body, counted, unread, cart)
  local unreads
  if is_heard(publish_command, channel) then unreads = table.concat(counts_of(counted, unread, cart), ',') end
  return publish(publish_command, channel, kind, seq, prev, id, body, unreads)
end

-- publish_unreads tells the user's live sockets that a counter has changed.
local function publish_unreads(publish_command, channel)
  publish(publish_command, channel, 'unreads', '0', '0', '-', '')
end

-- tell_screens has the user's devices told what is not unread any more, unless nothing is on
-- their screens. Without delayed it does nothing: dismissals are off. Both keys are checked by
-- the caller's expect('zset', delayed) before its first write.
local function tell_screens(shade, delayed, entry)
  if delayed and redis.call('EXISTS', shade) == 1 then ask_dismissal(delayed, entry) end
end
