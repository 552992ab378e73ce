-- Makes the record of an event that is published later, for one receiver. Until then it
-- reserves the event's id; see store_scheduled.lua.
--
-- KEYS  record, meta, record_index
-- ARGV  event: under which the record is kept; content: digest of what was sent
--       call: tells this call from others
--       at: when the event is published, ms
--       record_ttl: ms after that
-- Reply 1 when there was no record, 0 when there was one with the same content, -1 when it had
--       other content, 2 when the user was erased

local record, meta, record_index = unpack(KEYS)
local event, content, call, at, record_ttl = unpack(ARGV)

local text = redis.call('GET', record)
if text then
  local stored_content, _, stored_call = string.match(text, '^(%S*) (%S+) (%S+)')
  if stored_call == call then return 1 end -- this call, sent again after its answer was lost
  return stored_content == content and 0 or -1
end
if is_erased(meta) then return 2 end
local ttl = digits(math.max(0, tonumber(at) - millis()) + tonumber(record_ttl))
index_record(record_index, ttl, event)
redis.call('SET', record, content .. ' - ' .. call .. ' 0 scheduled ' .. at .. '\n', 'PX', ttl)
return 1
