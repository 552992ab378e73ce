-- Reads a broadcast.
--
-- KEYS  broadcast
-- Reply {Redis' time in ms, then fields and values, alternating}

local reply = redis.call('HGETALL', KEYS[1])
table.insert(reply, 1, millis())
return reply
