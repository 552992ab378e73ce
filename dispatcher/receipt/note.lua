-- Notes what an app said became of one notification: in the event's record, in the counts of
-- its broadcast, and in reports to its service. Each receipt of a device is noted once. The
-- function queue_reports, the fragment of the package report, stands before this.
--
-- KEYS  record
--       counts: of the broadcast; the record again when there is none
--       then the keys of queue_reports, if receipts are reported
-- ARGV  number of receipts
--       max_receipts: kept in a record
--       of each receipt three values: its line of the record up to the time, the time in ms,
--       and the field of counts
--       then the arguments of queue_reports, if receipts are reported: two, then id and body
--       of the report of each receipt
-- Reply {number of older reports that were dropped to make room, then for each receipt 1 when
--       it was noted, or 0 when it had been noted before, or the record has expired or is full}

local record, counts, reports = KEYS[1], KEYS[2], {KEYS[3], KEYS[4]}
local number, max_receipts = tonumber(ARGV[1]), tonumber(ARGV[2])
local FIRST = 3

local text = redis.call('GET', record)
local reply = {0}
for n = 1, number do reply[n + 1] = 0 end
if not text then return reply end
if counts ~= record then expect('hash', counts) end
if #reports > 0 then
  expect('stream', reports[1])
  expect('zset', reports[2])
end

local _, noted = string.gsub(text, '\nreceipt ', '')
local lines, fields, args = '', {}, {ARGV[FIRST + 3 * number], ARGV[FIRST + 3 * number + 1]}
for n = 1, number do
  local line, at, field = unpack(ARGV, FIRST + 3 * (n - 1), FIRST + 3 * n - 1)
  if noted < max_receipts and not string.find(text .. lines, '\n' .. line, 1, true) then
    noted, reply[n + 1] = noted + 1, 1
    lines = lines .. line .. at .. '\n'
    fields[#fields + 1] = field
    if #reports > 0 then
      local report = FIRST + 3 * number + 2 * n
      args[#args + 1], args[#args + 2] = ARGV[report], ARGV[report + 1]
    end
  end
end
if lines == '' then return reply end
redis.call('APPEND', record, lines)
if counts ~= record and redis.call('EXISTS', counts) == 1 then
  for _, field in ipairs(fields) do redis.call('HINCRBY', counts, field, 1) end
end
if #reports > 0 then reply[1] = queue_reports(reports, args) end
return reply
