-- Defines store_event, which stores one event for one receiver, once: the notification, its
-- counters, the frame for live sockets and the outbox entry.
--
-- KEYS  record, meta. The script derives the user's other keys from meta. The record of a new
--       event is missing, and while a cluster moves the slot it refuses (TRYAGAIN) a script of
--       whose keys only some are there: so the script never runs on half of the user's keys.
-- ARGV  id_suffix: last 11 digits of the notification's id
--       content: digest of what was sent
--       body: JSON object, or a reference to a broadcast's text
--       listed_type: the type under which it enters the list, or '' for no list
--       subject: what the event is about, or ''
--       order: of the state, microseconds; '' for the time of acceptance
--       rank: of states with the same order; 0 when there is no state
--       counter: that the state enters, 0 for none
--       cart: number of items, or ''
--       quiet: '1' when the event moves counters and is shown to nobody
--       contact_field: of contacts, or '' for none; contact: its value
--       push_header: of the outbox entry, up to the notification's id; '' for no push. The
--         entry of a listed notification refers to the list for its body; see refers
--       outbox: the stream; devices: of the devices package, without any nothing is enqueued
--       ttl, retry_for: how long the push is of use, and how long it is retried, ms
--       origin: what the record keeps for receipts, or ''
--       test_time: microseconds, in tests with a clock of their own
-- Reply {status, id, seq, live_error}: status 1 stored, 0 stored before (id is the first one's),
--       -1 stored before with other content, 2 dropped because the user was erased;
--       live_error is as in common.lua
--
-- These words stand for constants, which storeConstants writes into the text:
-- NOTIFICATIONS, KEPT_BODIES, UNREAD, COUNTED, REPLAY_LOG, CONTACTS, RECENT_CONTACTS,
-- RECORD_INDEX, CHANNEL, META, RECORD and USERS for the names of keys; RECORD_TTL, LIST_TTL
-- (for which an idle user's notifications are kept), REFER_FOR (the longest time for which a
-- push that refers to the list is retried) and LOG_TTL in ms; KEEP (after which notifications
-- are dropped) and DAY (expiries are renewed once a day) in microseconds; MAX_NOTIFICATIONS,
-- LOG_FRAMES and MAX_CONTACTS are kept; LISTED_BODY stands in an outbox entry for the body of
-- a listed notification; PUBLISH_COMMAND; ARGUMENTS of each event.

-- keep_bodies keeps the bodies of the oldest notifications, which are about to be dropped
-- because the list is full, for as long as pushes may refer to them. Those from seq inline on
-- (nil: none) are not referred to. It returns whether any is that young.
local function keep_bodies(notifications, kept_bodies, dropped, now, inline)
  local oldest = dropped > 0 and redis.call('XRANGE', notifications, '-', '+', 'COUNT', dropped) or {}
  local young, found = now - REFER_FOR * 1000, false
  for _, entry in ipairs(oldest) do
    local seq, body = string.match(entry[1], '^%d+'), entry[2][10]
    if tonumber(seq) > young then
      found = true
      if not inline or tonumber(seq) < tonumber(inline) then
        redis.call('HSET', kept_bodies, seq, body)
        redis.call('PEXPIRE', kept_bodies, REFER_FOR)
      end
    end
  end
  return found
end

-- user_of returns what all keys of a user begin with.
local function user_of(meta) return string.sub(meta, 1, -1 - #META) end

-- channel_of returns the channel of a user's live sockets.
local function channel_of(meta) return user_of(meta) .. CHANNEL end

local streams = {} -- the outboxes whose type was checked

-- store_event stores the event whose arguments begin at ARGV[first].
local function store_event(record, meta, first)
  local id_suffix, content, body, listed_type, subject, order, rank, counter, cart, quiet,
    contact_field, contact, push_header, outbox, devices, ttl, retry_for, origin, test_time = unpack(ARGV, first, first + ARGUMENTS - 1)

  local stored = redis.call('GET', record)
  if stored and stored ~= scheduled_record then
    local stored_content, id, seq, _, push = string.match(stored, '^(%S*) (%S+) (%S+) (%S+) (%S+)')
    if string.sub(id, 14) == id_suffix then return {push == 'erased' and 2 or 1, id, seq, live_error} end -- this call, sent again after its answer was lost
    return {stored_content == content and 0 or -1, id, seq, live_error}
  end

  local state_field = subject == '' and 'cart_at' or 'r:' .. subject
  local known = redis.call('HMGET', meta, 'seq', 'accepted', 'day', state_field, 'kept', 'erased', 'cart', 'inline')
  local last_seq, last_day, last_state, length, erased, inline = known[1], known[3], known[4], known[5], known[6], known[8]
  local now = acceptance(last_seq, known[2], test_time or '')
  local seq, prev, today = digits(now), last_seq or '0', digits(math.floor(now / DAY))
  local id = string.format('%08x%05x', math.floor(now / 1000000), now % 1000000) .. id_suffix
  if order == '' then order = seq end
  local changes = {} -- fields and values of meta

  local user = user_of(meta)
  local notifications, kept_bodies = user .. NOTIFICATIONS, user .. KEPT_BODIES
  local unread, counted, record_index = user .. UNREAD, user .. COUNTED, user .. RECORD_INDEX
  local listed, shown = listed_type ~= '', cart == '' and quiet ~= '1'
  if erased then -- only the record is kept: services may ask what became of the event
    redis.call('SET', record, content .. ' ' .. id .. ' ' .. seq .. ' 0 erased\n', 'PX', RECORD_TTL)
    return {2, id, seq, live_error}
  end

  -- The state counts unless a newer one is known (guarantee G6). A notification whose
  -- state is late is stored and not pushed, and is not the newest about its subject.
  local last_order, last_rank, told, newest = '0', '0', '-', id
  if subject ~= '' and last_state then
    last_order, last_rank, told, newest = string.match(last_state, '^(%S+) (%S+) (%S+) (%S+)')
  end
  local o, r, lo, lr = tonumber(order), tonumber(rank), tonumber(last_order), tonumber(last_rank)
  local same = o == lo and r == lr -- it is pushed again, but counted once
  local late = subject ~= '' and r > 0 and not same and (o < lo or (o == lo and r < lr))
  local advances = subject ~= '' and r > 0 and not late and not same -- it tells a newer state

  -- The types of the keys whose writes must not fail.
  local kept = tonumber(length or '0') + 1
  local trims = listed and (kept > MAX_NOTIFICATIONS + 32 or last_day ~= today) -- 32: several at a time, and seldom
  local pushed = push_header ~= '' and redis.call('EXISTS', devices) == 1
  if subject ~= '' or shown or trims then redis.call('ZCARD', counted) end
  if subject ~= '' or shown or listed then redis.call('ZCARD', unread) end
  if pushed and not streams[outbox] then
    redis.call('XLEN', outbox)
    streams[outbox] = true
  end
  if trims then expect('hash', kept_bodies) end
  local users, member
  if not last_seq then
    local partition, number = string.match(user, '^(.*:)u(%d+):$')
    users, member = partition .. USERS, string.rep('0', 19 - #number) .. number
    expect('zset', users)
  end

  -- These writes, and the XADD after them, may fail: they are harmless without the rest.
  redis.call('ZADD', record_index, digits(math.floor(now / 1000) + RECORD_TTL), string.sub(record, #user + #RECORD + 1))
  if advances and contact_field ~= '' then
    local contacts, recent_contacts = user .. CONTACTS, user .. RECENT_CONTACTS
    local added = redis.call('ZADD', recent_contacts, order, contact_field)
    redis.call('HSET', contacts, contact_field, contact)
    if added == 1 and redis.call('ZCARD', recent_contacts) > MAX_CONTACTS then
      redis.call('HDEL', contacts, redis.call('ZPOPMIN', recent_contacts)[1])
    end
  end
  if listed then
    redis.call('XADD', notifications, seq .. '-0', 'i', id, 'p', prev, 't', listed_type, 'r', subject, 'b', body)
  elseif shown then
    log_frame(user .. REPLAY_LOG, seq, prev, 'event', id, body, LOG_FRAMES, LOG_TTL)
  end

  if subject ~= '' then
    if not late and push_header ~= '' then newest = id end -- only a push replaces another one on the screen
    if advances then
      last_order, last_rank, told = order, rank, id
      if counter ~= '0' then
        redis.call('ZADD', counted, counter, subject)
      elseif last_state then
        redis.call('ZREM', counted, subject)
      end
    elseif same and r > 0 and counter ~= '0' and
      (tonumber(counter) ~= NEWS or redis.call('ZSCORE', unread, told)) then
      -- The first event may not have said who is seller and who is buyer. News that was
      -- read stays read.
      redis.call('ZADD', counted, 'NX', counter, subject)
    end
    changes[1], changes[2] = 'r:' .. subject, last_order .. ' ' .. last_rank .. ' ' .. told .. ' ' .. newest
  elseif cart ~= '' and tonumber(order) >= tonumber(last_state or '0') then
    changes[1], changes[2], changes[3], changes[4] = 'cart', cart, 'cart_at', order
  end

  if listed then
    redis.call('ZADD', unread, seq, id)
    if trims then
      -- Of a list that overflows faster than pushes are sent, new entries hold their bodies.
      local young = keep_bodies(notifications, kept_bodies, redis.call('XLEN', notifications) - MAX_NOTIFICATIONS, now, inline)
      if inline and not young then
        inline = false
        redis.call('HDEL', meta, 'inline')
      elseif young and not inline then
        inline = seq
        changes[#changes + 1], changes[#changes + 2] = 'inline', seq
      end
      redis.call('XTRIM', notifications, 'MAXLEN', MAX_NOTIFICATIONS)
      redis.call('XTRIM', notifications, 'MINID', digits(now - KEEP))
      local oldest = redis.call('XRANGE', notifications, '-', '+', 'COUNT', 1)[1]
      redis.call('ZREMRANGEBYSCORE', unread, '-inf', oldest and '(' .. string.match(oldest[1], '^%d+') or '+inf')
      redis.call('PEXPIRE', notifications, LIST_TTL)
      redis.call('PEXPIRE', unread, LIST_TTL)
      changes[#changes + 1], changes[#changes + 2] = 'day', today
      kept = redis.call('XLEN', notifications)
    end
    changes[#changes + 1], changes[#changes + 2] = 'kept', kept
  end
  -- A frame that is in no log takes no sequence number.
  changes[#changes + 1], changes[#changes + 2] = shown and 'seq' or 'accepted', seq
  redis.call('HSET', meta, unpack(changes))
  if trims then drop_stale_news(counted, meta, unread) end
  if users then redis.call('ZADD', users, 0, member) end

  local listening, channel = 0, channel_of(meta)
  if shown then
    listening = publish_with_unreads(PUBLISH_COMMAND, channel, 'event', seq, prev, id, live_body or body, counted, unread, known[7])
  else
    publish_unreads(PUBLISH_COMMAND, channel)
  end
  local push = 'none'
  if push_header ~= '' and late then
    push = 'superseded'
  elseif pushed then
    local refers = listed and not inline and tonumber(retry_for) <= REFER_FOR and string.sub(body, 1, 1) ~= '@'
    redis.call('XADD', outbox, '*', 'e', push_header .. id .. '"' .. lifetime(now, ttl, retry_for) .. '}\n' .. (refers and LISTED_BODY or body))
    push = 'waiting'
  end
  redis.call('SET', record, content .. ' ' .. id .. ' ' .. seq .. ' ' .. listening .. ' ' .. push .. (origin == '' and '' or ' ' .. origin) .. '\n', 'PX', RECORD_TTL)
  return {1, id, seq, live_error}
end
