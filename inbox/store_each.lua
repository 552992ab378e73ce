-- Stores several events in one call. store_notification.lua stands before this.
--
-- KEYS  those of store_notification.lua for each event, one after the other
-- ARGV  the same
-- Reply the reply of each

local channels, replies = {}, {}
for n = 1, #KEYS / 2 do channels[n] = channel_of(KEYS[2 * n]) end
ask_heard(PUBLISH_COMMAND, channels) -- once, not for each event
for n = 1, #KEYS / 2 do
  live_error = ''
  replies[n] = store_event(KEYS[2 * n - 1], KEYS[2 * n], 1 + (n - 1) * ARGUMENTS)
end
return replies
