-- Reads what a user's devices show.
--
-- KEYS  shade, unread. The script derives the conversations' unread messages from shade.
-- Reply {time in microseconds, then of each field of shade three values: its name, its value,
--        and 1 when what it names is unread, else 0}

local shade, unread = unpack(KEYS)
local user = string.sub(shade, 1, -1 - #SHADE) -- what all keys of the user begin with; see keys.go

local reply = {micros()}
local fields = redis.pcall('HGETALL', shade)
if fields.err then return reply end -- a damaged shade is as good as none
for i = 1, #fields, 2 do
  local tag, id = string.match(fields[i], '^%S+ (.+)$'), fields[i + 1]
  local conversation = tag and string.match(tag, '^message:(.+)$')
  local is_unread
  if not tag then
    is_unread = false
  elseif conversation then
    is_unread = redis.call('EXISTS', user .. 'c:' .. conversation .. ':unread') == 1
  else
    is_unread = redis.call('ZSCORE', unread, id) -- never of an id with "-" before it
  end
  reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = fields[i], id, is_unread and 1 or 0
end
return reply
