-- Adds what a gateway has seen of an app to what all gateways have, and replies with the
-- sum within the window.
--
-- KEYS  1 facts (hash)  2 users to whom pushes were attempted (sorted set, by time)
--       3 users whose newest answer blames the app (sorted set, by time)
--       4 users who were told to slow down (sorted set, by time)
--       5 the lease of a probe without a device (string)
--       6 devices attempted in this minute (HyperLogLog)  7 those called dead (HyperLogLog)
--       8 the open circuit (string)  9 the slowdown (string)
-- ARGV  1 window, ms  2 window of slowdowns, ms  3 '1': a push was accepted
--       4 for how long to take the lease of a probe, ms; 0: not to
--       5 number of users, then the users of KEYS 2; the same for KEYS 3, for those to
--       remove from KEYS 3, for KEYS 4, and for the devices of KEYS 6 and 7
-- Reply {Redis' clock in ms, time of the newest acceptance in ms or 0, users of KEYS 2,
--       users of KEYS 4, 1 if the lease was taken, the circuit or '', the slowdown or '',
--       when the first observation was noted in ms, users of KEYS 3, up to three of them}

local facts, attempted, blaming, slowed, lease = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local window, slow_window, accepted, lease_for = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4])
local most = 1000 -- members kept of a sorted set: more say no more

expect('hash', facts)
expect('zset', attempted, blaming, slowed)

local now, i = millis(), 4
local function next_list()
  i = i + 1
  local list = {}
  for n = 1, tonumber(ARGV[i]) do
    i = i + 1
    list[n] = ARGV[i]
  end
  return list
end

local function note(key, users, within)
  for _, user in ipairs(users) do redis.call('ZADD', key, digits(now), user) end
  redis.call('ZREMRANGEBYSCORE', key, '-inf', digits(now - within))
  redis.call('ZREMRANGEBYRANK', key, 0, -most - 1)
  if #users > 0 then redis.call('PEXPIRE', key, within) end
end

note(attempted, next_list(), window)
note(blaming, next_list(), window)
for _, user in ipairs(next_list()) do redis.call('ZREM', blaming, user) end
note(slowed, next_list(), slow_window)
for _, key in ipairs({KEYS[6], KEYS[7]}) do
  local devices = next_list()
  if #devices > 0 then
    redis.call('PFADD', key, unpack(devices))
    redis.call('PEXPIRE', key, 2 * window)
  end
end
redis.call('HSETNX', facts, 'since', digits(now))
if accepted then redis.call('HSET', facts, 'accepted', digits(now)) end
local took = 0
if lease_for > 0 and redis.call('SET', lease, '1', 'NX', 'PX', lease_for) then took = 1 end

local reply = {
  now, tonumber(redis.call('HGET', facts, 'accepted') or 0), redis.call('ZCARD', attempted), redis.call('ZCARD', slowed), took,
  redis.call('GET', KEYS[8]) or '', redis.call('GET', KEYS[9]) or '',
  tonumber(redis.call('HGET', facts, 'since')),
}
for _, user in ipairs(redis.call('ZREVRANGE', blaming, 0, 2)) do reply[#reply + 1] = user end
return reply
