-- rights returns the commands that this user may not execute. It calls a command only after
-- Redis has said that the user may not execute it, to get the reason.
--
-- KEYS   none
-- ARGV   commands, each a JSON array of its words
-- reply  for each command that is denied its index, from 1, and the reason in Redis' words
--        ("unknown command" when this Redis does not have it)

local denied = {}
if not redis.acl_check_cmd then return denied end -- Redis before 7.0, or an embedded one

for i, text in ipairs(ARGV) do
  local words = cjson.decode(text)
  local known, allowed = pcall(redis.acl_check_cmd, unpack(words))
  local reason
  if not known then
    reason = 'unknown command'
  elseif not allowed then
    reason = redis.pcall(unpack(words)).err
  end
  if reason then
    denied[#denied + 1] = i
    denied[#denied + 1] = reason
  end
end
return denied
