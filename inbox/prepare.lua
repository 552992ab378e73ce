-- Readies a sender for a message: binds its client id, if it has one, to what is
-- sent, and notes to whom.
--
-- KEYS  1 meta  2 bound (of the client id)  3 records  4 partners
-- ARGV  1 content (digest of what is sent), or '' without a client id
--       2 remember, ms  3 member of records  4 partner
-- Reply 1 when the client id is bound now, or there is none; 2 when it had been bound
--       to the same; 0 when it is bound to something else; -1 when the sender was erased

if was_erased(KEYS[1]) then return -1 end
local reply = 1
if ARGV[1] ~= '' then
  local content = redis.call('GET', KEYS[2])
  if content and content ~= ARGV[1] then return 0 end
  if content then
    reply = 2
  else
    redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
    remember_record(KEYS[3], ARGV[2], ARGV[3])
  end
end
redis.call('SADD', KEYS[4], ARGV[4])
return reply
