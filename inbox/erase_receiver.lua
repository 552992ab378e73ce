-- Removes a user from the receivers of an event.
--
-- KEYS  receivers
-- ARGV  user
-- Reply 1

local receivers, user = KEYS[1], ARGV[1]

local left = {}
for receiver in string.gmatch(redis.call('GET', receivers) or '', '%S+') do
  if receiver ~= user then left[#left + 1] = receiver end
end
if #left == 0 then
  redis.call('DEL', receivers)
else
  redis.call('SET', receivers, table.concat(left, ' '), 'KEEPTTL')
end
return 1
