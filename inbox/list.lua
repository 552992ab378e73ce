-- Reads one page of the notifications of some types, the newest first.
--
-- KEYS  1 list  2 notes  3 unread
-- ARGV  1 offset  2 count  3… types
-- Reply [id, 1 when read else 0, stored notification, …]

local skip, want = tonumber(ARGV[1]), tonumber(ARGV[2])
local types = {}
for i = 3, #ARGV do types[ARGV[i]] = true end

local page = {}
local from, chunk = 0, 200
while want > 0 do
  local members = redis.call('ZREVRANGE', KEYS[1], from, from + chunk - 1)
  for _, member in ipairs(members) do
    if types[string.sub(member, 26)] then
      if skip > 0 then
        skip = skip - 1
      elseif want > 0 then
        want = want - 1
        local id = string.sub(member, 1, 24)
        page[#page + 1] = id
        page[#page + 1] = 1 - redis.call('SISMEMBER', KEYS[3], id)
        page[#page + 1] = redis.call('HGET', KEYS[2], id)
      end
    end
  end
  if #members < chunk then break end
  from = from + chunk
end
return page
