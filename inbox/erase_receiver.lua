-- Takes a user out of the receivers of an event.
--
-- KEYS  1 receivers
-- ARGV  1 user
-- Reply 1

local left = {}
for user in string.gmatch(redis.call('GET', KEYS[1]) or '', '%S+') do
  if user ~= ARGV[1] then left[#left + 1] = user end
end
if #left == 0 then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], table.concat(left, ' '), 'KEEPTTL')
end
return 1
