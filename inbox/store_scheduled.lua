-- Stores a scheduled event when its time has come, for a receiver who has the record that
-- schedule_record.lua has made. Without it the receiver was erased since. When the event was
-- stored or retracted, store_notification finds that in the record.
--
-- KEYS  those of store_notification.lua, then
--       missing: exists never: the other two may both be there while a cluster moves the slot
-- ARGV  those of store_notification.lua
-- Reply that of store_notification.lua

local record, content = KEYS[1], ARGV[2]

local text = redis.call('GET', record)
if not text then return {2, '-', '0', live_error} end
local scheduled = string.match(text, '^(%S*) %- %S+ 0 scheduled ')
if scheduled == content and not string.find(text, '\npush retracted\n', 1, true) then scheduled_record = text end
return store_notification()
