-- Lists a device under the user who has just claimed its token, unless a newer
-- registration of the token is listed already; drops the least recently
-- registered devices beyond the most that a user may have; and announces a
-- device that is new in the list. What the user prefers for the device that it
-- refreshes, or whose place it takes, goes on.
--
-- KEYS[1]  hash: the user's devices
-- KEYS[2]  sorted set: the partition's users
-- KEYS[3]  hash: the user's tombstone, if it has the field erased
-- KEYS[4]  stream: where to announce it; absent when it is not to be
-- ARGV[1]  device id
-- ARGV[2]  platform
-- ARGV[3]  token
-- ARGV[4]  generation
-- ARGV[5]  the device as JSON, without preferences
-- ARGV[6]  the most devices
-- ARGV[7]  the token whose place it takes, or ""
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
if redis.call('HEXISTS', KEYS[3], 'erased') == 1 then
  return { 'erased' }
end
local id, platform, token = ARGV[1], ARGV[2], ARGV[3]
local generation, most, replaced = tonumber(ARGV[4]), tonumber(ARGV[6]), tonumber(ARGV[8])

local state, taken, others, gone = 'new', false, {}, {}
local same, former -- the token's entry, and that of the token whose place it takes
local list = redis.call('HGETALL', KEYS[1])
for i = 1, #list, 2 do
  local entry = cjson.decode(list[i + 1])
  local is = entry.p == platform and entry.t or nil
  if is == token then
    same = entry
  elseif is == ARGV[7] then
    former = entry
  end
  if is == token and entry.g > generation then
    state = 'older'
  elseif is == token and list[i] == id then
    if state == 'new' then
      state = 'refreshed'
    end
  elseif is == token or (is == ARGV[7] and entry.g <= replaced) then
    table.insert(gone, list[i])
  elseif list[i] == id then
    taken = true
  else
    table.insert(others, { id = list[i], g = entry.g, json = list[i + 1] })
  end
end
if taken and state ~= 'older' then
  return { 'taken' }
end

local reply = { state }
if state ~= 'older' then
  table.sort(others, function(a, b) return a.g > b.g end)
  for i = math.max(most, 1), #others do
    table.insert(gone, others[i].id)
    table.insert(reply, others[i].json)
  end
end

-- The announcement first: of the writes it alone could fail, for a key that is
-- no stream.
if state == 'new' and KEYS[4] then
  redis.call('XADD', KEYS[4], '*', ARGV[10], ARGV[11])
end
for _, other in ipairs(gone) do
  redis.call('HDEL', KEYS[1], other)
end
if state ~= 'older' then
  local json, preferred = ARGV[5], (former or same or {}).x
  if preferred then
    json = string.sub(json, 1, -2) .. ',"x":' .. cjson.encode(preferred) .. '}'
  end
  redis.call('HSET', KEYS[1], id, json)
  redis.call('ZADD', KEYS[2], 0, ARGV[9])
end
return reply
