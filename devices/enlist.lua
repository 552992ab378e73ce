-- Lists a device under the user who has just claimed its token, unless a newer
-- registration of the token is listed already; drops the least recently
-- registered devices when the user has more than the limit; and announces a
-- device that is new in the list. The preferences of the device that it refreshes
-- or replaces are kept, and with an equal token the day of its last acceptance
-- and the environment that accepted it. An installation id and a registration token that
-- begins with it are of one device.
--
-- Safe to repeat: a repeat after a lost reply refreshes what it has listed, with the
-- same preferences, and announces nothing. It does not name the devices that it has
-- dropped any more; their owner records stay until their apps register again, and no
-- push goes to a device that is not listed.
--
-- KEYS[1]  hash: the user's devices
-- KEYS[2]  sorted set: the partition's users
-- KEYS[3]  hash: the user's tombstone, if it has the field erased
-- KEYS[4]  stream: where to announce it; absent when it is not to be
-- ARGV[1]  device id
-- ARGV[2]  the platform that has such tokens
-- ARGV[3]  token
-- ARGV[4]  generation
-- ARGV[5]  the device as JSON, without preferences, day of acceptance and learned environment
-- ARGV[6]  the maximum number of devices
-- ARGV[7]  the token that it replaces, or ""
-- ARGV[8]  the generation up to which that one is taken off the list
-- ARGV[9]  the user as a member of the partition's users
-- ARGV[10], ARGV[11]  field and value of the announcement
--
-- Reply: { state, each dropped device as JSON ... }. The state is
--   "new"        it was not in the list
--   "refreshed"  it was
--   "older"      a newer registration of the token is listed, and stays
--   "taken"      another token has this device id; nothing was changed
--   "erased"     the user was erased; nothing was changed
local devices_key, users_key, tombstone_key, stream_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, platform, token, generation, json = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local max_devices, replaced_generation = tonumber(ARGV[6]), tonumber(ARGV[8])
local token_stem, replaced_stem = stem(token), stem(ARGV[7])
local member, field, value = ARGV[9], ARGV[10], ARGV[11]

if redis.call('HEXISTS', tombstone_key, 'erased') == 1 then
  return { 'erased' }
end

local state, taken, others, gone = 'new', false, {}, {}
local same, replaced -- the entry of the token's stem, and that of the token that it replaces
local list = redis.call('HGETALL', devices_key)
for i = 1, #list, 2 do
  local entry_id, entry_json = list[i], list[i + 1]
  local entry = cjson.decode(entry_json)
  local entry_stem = (entry.u == 'fcm' and 'android' or entry.p) == platform and stem(entry.t) or nil
  if entry_stem == token_stem then
    same = entry
  elseif entry_stem == replaced_stem then
    replaced = entry
  end
  if entry_stem == token_stem and entry.g > generation then
    state = 'older'
  elseif entry_stem == token_stem and entry_id == id then
    if state == 'new' then
      state = 'refreshed'
    end
  elseif entry_stem == token_stem or (entry_stem == replaced_stem and entry.g <= replaced_generation) then
    table.insert(gone, entry_id)
  elseif entry_id == id then
    taken = true
  else
    table.insert(others, { id = entry_id, g = entry.g, json = entry_json })
  end
end
if taken and state ~= 'older' then
  return { 'taken' }
end

local reply = { state }
if state ~= 'older' then
  table.sort(others, function(a, b) return a.g > b.g end)
  for i = math.max(max_devices, 1), #others do
    table.insert(gone, others[i].id)
    table.insert(reply, others[i].json)
  end
end

-- The announcement first: of the writes it alone could fail, for a key that is
-- no stream.
if state == 'new' and stream_key then
  redis.call('XADD', stream_key, '*', field, value)
end
for _, other in ipairs(gone) do
  redis.call('HDEL', devices_key, other)
end
if state ~= 'older' then
  local preferences = (replaced or same or {}).x
  if preferences then
    json = string.sub(json, 1, -2) .. ',"x":' .. cjson.encode(preferences) .. '}'
  end
  if same and same.t ~= token then
    same = nil -- the day and the environment are of the other token
  end
  if same and same.a then
    json = string.sub(json, 1, -2) .. ',"a":' .. digits(same.a) .. '}'
  end
  if same and same.w then
    json = string.sub(json, 1, -2) .. ',"w":' .. cjson.encode(same.w) .. '}'
  end
  redis.call('HSET', devices_key, id, json)
  redis.call('ZADD', users_key, 0, member)
end
return reply
