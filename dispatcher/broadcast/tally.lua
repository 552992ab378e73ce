-- Counts the outcomes of a broadcast's pushes, within the script that settles an entry.
--
-- keys  1 walk
-- args  1… fields to count up and their increments, alternating
-- Returns 1, or 0 when the walk has expired. It never fails, because the settling script
-- has already written when it calls this.

local walk = keys[1]

if redis.call('TYPE', walk).ok ~= 'hash' then return 0 end
for i = 1, #args, 2 do redis.pcall('HINCRBY', walk, args[i], args[i + 1]) end
return 1
