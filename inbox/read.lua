-- Marks one notification as read.
--
-- KEYS  1 notes  2 unread  3 open  4 states
-- ARGV  1 id
-- Reply {1 when there is such a notification else 0, number of unread ones}

local id = ARGV[1]
local note = redis.call('HGET', KEYS[1], id)
if not note then return {0, redis.call('SCARD', KEYS[2])} end

redis.call('SREM', KEYS[2], id)
-- A transaction's news is unread as long as the notification that told it is.
local resource = string.match(note, '^([^\n]+)\n')
if resource then
  local state = redis.call('HGET', KEYS[4], resource)
  if state and string.sub(state, -24) == id and tonumber(redis.call('ZSCORE', KEYS[3], resource)) == NEWS then
    redis.call('ZREM', KEYS[3], resource)
  end
end
return {1, redis.call('SCARD', KEYS[2])}
