-- Changes what a user's devices show, in the script that settles a push: the body of a
-- function with the parameters keys and args. It does not fail if delayed is a sorted set or
-- missing. A shade that is no hash is left alone. It may be repeated.
--
-- keys  1 shade  2 delayed set of dismissals  3 of a push that is shown: the unread
--       notifications, or the unread messages of its conversation
-- args  1 the user's dismissal, as an entry of the delayed set
--       2 when the push's facts were looked up, microseconds
--       3 "shown": devices show a notification
--           4 tag  5 id  6 1 if it is a message, else 0
--           then device and badge ('' for none, '?' when it is not known) of each device, of
--           which there is at least one
--         "told": one device was told what was read
--           4 device  5 badge or ''  6 1 after a background push to an iPhone, else 0
--           7 1 when there is more to tell, else 0
--           8 1 when the rest waits for the next push that is shown, 0 when none waits any
--             more, '' when that does not change
--           then tag and id of each notification that it was told about
-- Returns 1, or 0 when the shade is no hash

local shade, delayed = keys[1], keys[2]
local dismissal, looked, change = args[1], tonumber(args[2]), args[3]
local now, asks = micros(), false
local DAY = 86400000 -- ms

-- badge_state returns what is known of an iPhone from now on, when it has got a badge ('' for
-- none) or a background push. The order in which the phone got two pushes is not known when
-- one was looked up before the other was settled. If a dismissal is among them, and their
-- badges differ, the badge is told again.
local function badge_state(known, badge, background)
  local b, l, e, kind, first, second = string.match(known or '', '^(%S+) (%d+) (%d+) (%a) (%d+) (%d+)$')
  l, e = tonumber(l or '0'), tonumber(e or '0')
  if change == 'told' then kind = 'd' end
  if badge == '' then
    badge = b or '?'
  elseif badge == '?' then
    l, e, asks = math.max(l, looked), now, true
  else
    if b and b ~= badge and looked < e and kind == 'd' then
      badge, asks = '?', true
    elseif b and looked < l then
      badge = b
    end
    l, e = math.max(l, looked), now
  end
  if background then first, second = second, digits(math.floor(now / 1000)) end
  return table.concat({badge, digits(l), digits(e), kind or 'v', first or '0', second or '0'}, ' ')
end

-- trim drops the notifications that have been shown for longest, when there are very many.
local function trim()
  if redis.call('HLEN', shade) <= 256 then return end
  local shown, fields = {}, redis.call('HGETALL', shade)
  for i = 1, #fields, 2 do
    if string.find(fields[i], ' ', 1, true) then
      shown[#shown + 1] = {field = fields[i], id = string.match(fields[i + 1], '[^%-]+') or ''}
    end
  end
  table.sort(shown, function(a, b) return a.id < b.id end)
  for i = 1, math.min(64, #shown) do redis.call('HDEL', shade, shown[i].field) end
end

if change == 'shown' then
  local tag, id, unread = args[4], args[5], nil
  if args[6] == '1' then
    unread = redis.pcall('ZCARD', keys[3]) ~= 0
  else
    unread = redis.pcall('ZSCORE', keys[3], id)
  end
  local fields = {} -- with their values
  local today, last_day = digits(math.floor(now / 1000 / DAY)), nil
  for i = 7, #args, 2 do
    local device, badge, newest = args[i], args[i + 1], id
    local known = redis.pcall('HMGET', shade, device .. ' ' .. tag, device, 'day')
    if known.err then return 0 end
    local told, other = string.match(known[1] or '', '^(%-?)(.+)$')
    last_day = known[3]
    if other and other > id then newest = other end -- this one came late
    if newest == id and not unread or newest ~= id and told == '-' then asks = true end
    fields[#fields + 1], fields[#fields + 2] = device .. ' ' .. tag, newest
    if badge ~= '' then
      fields[#fields + 1], fields[#fields + 2] = device, badge_state(known[2], badge, false)
    end
  end
  if last_day ~= today then fields[#fields + 1], fields[#fields + 2] = 'day', today end
  if redis.call('HSET', shade, unpack(fields)) > 0 then trim() end
  if last_day ~= today then redis.call('PEXPIRE', shade, 29 * DAY) end -- a provider keeps a push for 28 days
elseif redis.call('TYPE', shade).ok == 'hash' then -- else the user was erased
  local device, badge, background, more, owed = args[4], args[5], args[6], args[7], args[8]
  for i = 9, #args, 2 do
    local field = device .. ' ' .. args[i]
    if redis.call('HGET', shade, field) == args[i + 1] then redis.call('HSET', shade, field, '-' .. args[i + 1]) end
  end
  if badge ~= '' or background == '1' then
    redis.call('HSET', shade, device, badge_state(redis.call('HGET', shade, device), badge, background == '1'))
  end
  if owed == '1' then redis.call('HSET', shade, 'owed', '1') elseif owed == '0' then redis.call('HDEL', shade, 'owed') end
  asks = asks or more == '1'
end
if asks then ask_dismissal(delayed, dismissal) end
return 1
