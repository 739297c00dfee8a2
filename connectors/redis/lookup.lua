-- Routes of many users at once.
-- ARGV: user ids. Returns, in the same order, per user a flat list: device, slot, device, slot ...
-- A route counts unless the slot's lease names another node. A lease that has merely run out (Redis was paused, the
-- gateway is late) must not cost a delivery; a delivery to a dead slot costs one record.
local holders = {}
local found = {}
for i, user in ipairs(ARGV) do
  local routes = redis.call('HGETALL', 'routes:' .. user)
  local valid = {}
  for r = 1, #routes, 2 do
    local node, slot = string.match(routes[r + 1], '^(%S+) (%d+)$')
    local holder = holders[slot]
    if holder == nil then
      holder = redis.call('GET', 'slot:' .. slot)
      holders[slot] = holder
    end
    if not holder or holder == node then
      valid[#valid + 1] = routes[r]
      valid[#valid + 1] = slot
    end
  end
  found[i] = valid
end
return found
