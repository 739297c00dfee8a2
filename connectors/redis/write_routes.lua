-- Write routes. ARGV: msgpack list of [user, device, "node slot since", since, node], time to live in seconds, what may be a
-- difference of clocks in ms. One of a later session stays: a node that was late must not take a device back. One from the
-- future gives way: this Redis' clock is behind that of the one before.
-- Returns the places, from 0 on, of those that were not there; of those that a later session keeps out; and [place, node, slot,
-- since] of each route of an earlier session, on another node that has its lease, which was replaced. Sessions that came together, by
-- the difference of clocks, are neither: which of them is the later cannot be said.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local apart = tonumber(ARGV[3])
local anew, outdone, replaced = {}, {}, {}
for i, route in ipairs(cmsgpack.unpack(ARGV[1])) do
  local key = 'routes:' .. route[1]
  local held = redis.call('HGET', key, route[2])
  if held ~= route[3] then
    local node, slot, since = string.match(held or '', '^(%S+) (%d+) (%d+)$')
    since = tonumber(since) or 0
    if since <= route[4] or since > now + apart then
      redis.call('HSET', key, route[2], route[3])
      anew[#anew + 1] = i - 1
      if node and node ~= route[5] and since < route[4] - apart and redis.call('GET', 'slot:' .. slot) == node then
        replaced[#replaced + 1] = {i - 1, node, tonumber(slot), since}
      end
    elseif since > route[4] + apart then
      outdone[#outdone + 1] = i - 1
    end
  end
  redis.call('EXPIRE', key, ARGV[2])
end
return {anew, outdone, replaced}
