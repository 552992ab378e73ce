-- Makes a user the owner of a device token and raises the token's generation.
--
-- KEYS[1]  string: the token's owner record
-- ARGV[1]  the user
-- ARGV[2]  a device id
-- ARGV[3]  "1": take that id even when the token is the user's already, and so
--          has one
--
-- Reply: { the record as it is now, the record as it was or "" }
local before = redis.call('GET', KEYS[1])
local user, last, id = '0', '0', '0'
if before then
  user, last, id = string.match(before, '^(%d+) (%d+) (%x+)$')
  if not user then
    return redis.error_reply('ERR malformed owner record')
  end
end
if user ~= ARGV[1] or ARGV[3] == '1' then
  id = ARGV[2]
end

local now = redis.call('TIME')
local generation = math.max(tonumber(last) + 1, tonumber(now[1]) * 1000000 + tonumber(now[2]))
local record = string.format('%s %.0f %s', ARGV[1], generation, id)
redis.call('SET', KEYS[1], record) -- also ends the expiry of a released record
return { record, before or '' }
