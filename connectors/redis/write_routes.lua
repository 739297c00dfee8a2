-- Write routes. ARGV: msgpack list of [user, device, "node slot since", since, node], the time to
-- live in seconds, and by how many ms clocks may differ.
--
-- A later session's route stays: a node that was late must not take a device back. A route from
-- the future is replaced: another Redis, whose clock was ahead of this one's, ordered it. So is one
-- that may as well be the earlier, if its node does not hold its slot.
-- A new route of a user also removes the user's dead ones: those whose slot another node holds, and
-- those older than the time to live whose slot nobody holds.
--
-- Returns four lists: places (from 0) of routes that were not there; places of routes that a later
-- session keeps out; [place, node, slot, since] of each earlier session's route that was replaced
-- while its node still held its slot; and [place, count] of each route of a device that had none,
-- whose user has so many others. Sessions whose times differ by less than clocks may
-- are in neither of the second and third: nobody can say which of them is later.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local apart = tonumber(ARGV[3])
local anew, outdone, replaced, others = {}, {}, {}, {}
local holders = {}
local function holder_of(slot)
  if holders[slot] == nil then
    holders[slot] = redis.call('GET', 'slot:' .. slot)
  end
  return holders[slot]
end
local function sweep(key)
  local routes = redis.call('HGETALL', key)
  local left = #routes / 2
  for r = 1, #routes, 2 do
    local node, slot, since = string.match(routes[r + 1], '^(%S+) (%d+) (%d+)$')
    local holder = node and holder_of(slot)
    if not node or (holder and holder ~= node) or
        (not holder and tonumber(since) < now - ARGV[2] * 1000) then
      redis.call('HDEL', key, routes[r])
      left = left - 1
    end
  end
  return left
end
for i, route in ipairs(cmsgpack.unpack(ARGV[1])) do
  local key = 'routes:' .. route[1]
  local held = redis.call('HGET', key, route[2])
  if held ~= route[3] then
    local node, slot, since = string.match(held or '', '^(%S+) (%d+) (%d+)$')
    since = tonumber(since) or 0
    if since <= route[4] or since > now + apart or
        (since <= route[4] + apart and holder_of(slot) ~= node) then
      local left = held and 0 or sweep(key)
      if left > 0 then
        others[#others + 1] = {i - 1, left}
      end
      redis.call('HSET', key, route[2], route[3])
      anew[#anew + 1] = i - 1
      if node and node ~= route[5] and since < route[4] - apart and holder_of(slot) == node then
        replaced[#replaced + 1] = {i - 1, node, tonumber(slot), since}
      end
    elseif since > route[4] + apart then
      outdone[#outdone + 1] = i - 1
    end
  end
  redis.call('EXPIRE', key, ARGV[2])
end
return {anew, outdone, replaced, others}
