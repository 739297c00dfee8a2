-- Find the routes of many users. ARGV: msgpack list of user ids.
--
-- Returns, in the order of the users, each one's {device, slot} pairs, packed: decoding the replies
-- of a thousand users would cost the client more than the rest of its batch.
-- A route counts unless the slot's lease names another node. A lease that has merely run out (Redis
-- was paused, or the gateway is late) must not cost a delivery; a delivery to a dead slot costs one
-- record.
local holders = {}
local found = {}
for i, user in ipairs(cmsgpack.unpack(ARGV[1])) do
  local routes = redis.call('HGETALL', 'routes:' .. user)
  local valid = {}
  for r = 1, #routes, 2 do
    local node, slot = string.match(routes[r + 1], '^(%S+) (%d+) %d+$')
    local holder = holders[slot]
    if holder == nil then
      holder = redis.call('GET', 'slot:' .. slot)
      holders[slot] = holder
    end
    if not holder or holder == node then
      valid[#valid + 1] = {routes[r], tonumber(slot)}
    end
  end
  found[i] = valid
end
return cmsgpack.pack(found)
