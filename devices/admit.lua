-- Reads the owner record of a device token, and takes one push from the two budgets of the
-- device if the record names the user and the generation.
--
-- A budget of n pushes gets one back every so many ms. So in any time t at most
-- n + t/interval pushes are taken: 230 in a minute and 4900 in an hour. What is missing from
-- a budget is kept as the ms until it is full again. The key expires when the hour's budget
-- is full; its value says how much sooner the minute's is.
--
-- Works at maxmemory, and on a Redis that refuses writes for another reason: then it
-- admits the push and counts nothing.
--
-- Safe to repeat: a repeat after a lost reply takes one more push from the budgets.
--
-- KEYS[1]  string: the token's owner record
-- KEYS[2]  string: the device's budgets
-- KEYS[3]  string: exists while the device is put off
-- ARGV[1]  "user generation " as the record must begin
-- ARGV[2]  how many pushes must be left over in each budget
--
-- Reply: the record, or nil; or { the record, ms to wait } when nothing was taken because
-- a budget is used up or the device is put off
local owner_key, budgets_key, put_off_key = KEYS[1], KEYS[2], KEYS[3]
local holder, spare = ARGV[1], ARGV[2]

local record = redis.call('GET', owner_key)
if not record or string.sub(record, 1, #holder) ~= holder then
  return record
end
local put_off = redis.call('PTTL', put_off_key)
if put_off > 0 then
  return { record, put_off }
end
local minute_burst, minute_interval = 110, 500
local hour_burst, hour_interval = 2500, 1500

local minute, hour = minute_interval, hour_interval -- ms until full, with this push
local sooner = redis.call('GET', budgets_key)
if sooner then
  local left = redis.call('PTTL', budgets_key)
  -- A clock that has stepped back makes nobody wait longer than a used-up budget does.
  minute = minute + math.min(math.max(left - sooner, 0), minute_burst * minute_interval)
  hour = hour + math.min(math.max(left, 0), hour_burst * hour_interval)
  local wait = math.max(minute - math.max(minute_burst - spare, 1) * minute_interval,
    hour - math.max(hour_burst - spare, 1) * hour_interval)
  if wait > 0 then
    return { record, wait }
  end
end
redis.pcall('SET', budgets_key, hour - minute, 'PX', hour)
return record
