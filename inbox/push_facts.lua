-- Looks up what sending pushes depends on. Pushes share nothing: one whose keys are of the
-- wrong type fails alone.
--
-- KEYS  for each push: the receiver's device list, meta, unread, counted, profile, shade; for a
--       message: received_unread, record; when the body is looked up: notifications,
--       kept_bodies
-- ARGV  test_time: microseconds, or '' for Redis' time
--       then for each push
--         subject: to look up, or ''
--         message: its id, or ''
--         seq: of the notification whose body is looked up, or ''
-- Reply {time in microseconds, then for each push {the text of an error} or {
--         the values of the device list,
--         the counts in the order of counts_of,
--         what meta holds of the subject or nil,
--         locale, time zone, quiet hours and their zone, each nil where it is not set,
--         1 when the message was read or deleted, or a socket has said that it was seen, else 0,
--         number of unread messages in the message's conversation,
--         the body, or '',
--         1 when an iPhone is to be told with the next push what was read, else 0}}

-- The positions are in a table, because the embedded Redis forgets, after a pcall, what a
-- function assigned to a local outside of it.
local at = {arg = 1, key = 0}
local function next_arg() at.arg = at.arg + 1; return ARGV[at.arg] end
local function next_key() at.key = at.key + 1; return KEYS[at.key] end

-- seen_and_unread returns the last two values of a push's reply. seen_seq is the sequence
-- number up to which a socket has seen everything, or false.
local function seen_and_unread(seen_seq, message, received_unread, record)
  if message == '' then return 0, 0 end
  local seen = 0
  if not redis.call('ZSCORE', received_unread, message) then seen = 1 end
  local content = redis.call('GET', record)
  local seq = content and string.match(content, '^%S+ %S+ (%S+)')
  if seq and seen_seq and tonumber(seen_seq) >= tonumber(seq) then seen = 1 end
  return seen, redis.call('ZCARD', received_unread)
end

-- body_of returns the body of a notification that is in the list, or was there not long ago,
-- or ''.
local function body_of(seq, notifications, kept_bodies)
  if seq == '' then return '' end
  local listed = redis.call('XRANGE', notifications, seq, seq)[1]
  return listed and listed[2][10] or redis.call('HGET', kept_bodies, seq) or ''
end

local function look_up(devices, meta, unread, counted, profile, shade, subject, message, received_unread, record, seq, notifications, kept_bodies)
  local known = redis.call('HMGET', meta, 'cart', 'seen', 'r:' .. subject)
  local set = redis.call('HMGET', profile, 'locale', 'timezone', 'quiet', 'quiet_zone')
  local seen, unread_messages = seen_and_unread(known[2], message, received_unread, record)
  local owed = redis.pcall('HEXISTS', shade, 'owed')
  if owed ~= 1 then owed = 0 end -- a damaged shade, too, holds up no push
  local found = {redis.call('HVALS', devices), unpack(counts_of(counted, unread, known[1]))}
  local body = body_of(seq, notifications, kept_bodies)
  for _, value in ipairs({known[3], set[1], set[2], set[3], set[4], seen, unread_messages, body, owed}) do
    found[#found + 1] = value
  end
  return found
end

local reply = {ARGV[1] == '' and micros() or tonumber(ARGV[1])}
while at.arg < #ARGV do
  local subject, message, seq = next_arg(), next_arg(), next_arg()
  local devices, meta, unread, counted, profile, shade = next_key(), next_key(), next_key(), next_key(), next_key(), next_key()
  local received_unread, record
  if message ~= '' then received_unread, record = next_key(), next_key() end
  local notifications, kept_bodies
  if seq ~= '' then notifications, kept_bodies = next_key(), next_key() end
  local ok, found = pcall(look_up, devices, meta, unread, counted, profile, shade, subject, message, received_unread, record,
    seq, notifications, kept_bodies)
  if not ok then found = {message_of(found)} end
  reply[#reply + 1] = found
end
return reply
