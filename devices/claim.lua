-- Makes a user the owner of a device token and raises the token's generation.
--
-- Safe to repeat: a repeat after a lost reply raises the generation once more and keeps the
-- device id. Its reply names the user as the previous owner, so that the caller does not
-- remove the token from the real previous owner's list. No push goes to that listing, and
-- the first push that meets it removes it.
--
-- KEYS[1]  string: the token's owner record
-- ARGV[1]  the user
-- ARGV[2]  a device id
-- ARGV[3]  "1": use that id even when the user owns the token already, and so has an id
--          for it
--
-- Reply: { the record as it is now, the record as it was or "" }
local owner_key = KEYS[1]
local claimant, new_id, keep_id = ARGV[1], ARGV[2], ARGV[3] == '1'

local before = redis.call('GET', owner_key)
local user, last, id = '0', '0', '0'
if before then
  user, last, id = string.match(before, '^(%d+) (%d+) (%x+)$')
  if not user then
    return redis.error_reply('ERR malformed owner record')
  end
end
if user ~= claimant or keep_id then
  id = new_id
end

local generation = math.max(tonumber(last) + 1, micros())
local record = string.format('%s %.0f %s', claimant, generation, id)
redis.call('SET', owner_key, record) -- also ends the expiry of a released record
return { record, before or '' }
