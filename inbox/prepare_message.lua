-- Prepares the sending of a message: binds its client id, if it has one, to its
-- content, lists its receiver among the sender's partners, and reads the sender's
-- generation.
--
-- KEYS  meta
--       binding: the record of the client id
--       record_index, partners
-- ARGV  content: digest of what is sent, or '' without a client id
--       record_ttl: ms
--       binding_member: of record_index
--       partner
--       test_time: microseconds, or '' for Redis' time
-- Reply {status, now in microseconds, generation}: status 1 when the client id is bound
--       now, or there is none; 2 when it had been bound to the same content; 0 when it is
--       bound to other content; -1 when the sender was erased

local meta, binding, record_index, partners = unpack(KEYS)
local content, record_ttl, binding_member, partner, test_time = unpack(ARGV)

local now = test_time == '' and micros() or tonumber(test_time)
local erased, generation = unpack(redis.call('HMGET', meta, 'erased', 'generation'))
if erased then return {-1, now, 0} end
local status = 1
expect('set', partners)
if content ~= '' then
  local bound = redis.call('GET', binding)
  if bound and bound ~= content then return {0, now, 0} end
  if bound then
    status = 2
  else
    expect('zset', record_index)
    redis.call('SET', binding, content, 'PX', record_ttl)
    index_record(record_index, record_ttl, binding_member)
  end
end
redis.call('SADD', partners, partner)
return {status, now, tonumber(generation or '0')}
