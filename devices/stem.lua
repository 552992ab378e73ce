-- Returns what the owner record of a device token is named after; see stem in Go.
local function stem(token)
  local id = string.match(token, '^[cdef][%w_-]+')
  if id and #id == 22 and (#token == 22 or string.sub(token, 23, 23) == ':') then
    return id
  end
  return token
end
