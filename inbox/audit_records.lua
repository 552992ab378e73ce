-- Checks that each listed notification has a record of its event: one script writes both.
-- The caller looked for the records after it had read the list.
--
-- KEYS  meta, notifications, unread, counted
-- ARGV  repair: 1 or 0
--      then for each notification without a record three values: its id, its sequence
--      number, and the id of another notification with the same content that has a
--      record, or ''. If there is one, the repair drops this notification: the service
--      was told that storing had failed, and published the event again.
-- Reply [set, member, problem, …]

local meta, notifications, unread, counted = unpack(KEYS)
local repair = ARGV[1] == '1'
local FIRST = 2

expect('zset', unread, counted)
if is_erased(meta) then return {} end -- erasing removes records before the list
local found, dropped = {}, 0
for i = FIRST, #ARGV, 3 do
  local id, seq, twin = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local entry = redis.call('XRANGE', notifications, seq, seq)[1]
  if entry and entry[2][2] == id then
    for _, v in ipairs({'notes', id, 'has no record'}) do found[#found + 1] = v end
    if repair and twin ~= '' then
      local field = 'r:' .. entry[2][8]
      local state = redis.call('HGET', meta, field)
      if state then redis.call('HSET', meta, field, (string.gsub(state, id, twin))) end
      redis.call('XDEL', notifications, seq)
      redis.call('ZREM', unread, id)
      dropped = dropped + 1
    end
  end
end
if dropped > 0 then
  redis.call('HSET', meta, 'kept', redis.call('XLEN', notifications))
  drop_stale_news(counted, meta, unread)
end
return found
