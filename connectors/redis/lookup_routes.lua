-- Routes of many users at once.
-- ARGV: user ids as a msgpack list and, if conversations begin, their partition and the ids of their users. These come into the
-- directory first, where somebody asks for them: who came too late for the routes finds the partition there. Returns, in the same order, each user's {device, slot} pairs, as msgpack too: a
-- thousand users a call would otherwise cost the client more than the rest of its batch.
-- A route counts unless the slot's lease names another node. A lease that has merely run out (Redis was paused, the
-- gateway is late) must not cost a delivery; a delivery to a dead slot costs one record.
if ARGV[2] then
  for _, user in ipairs(cmsgpack.unpack(ARGV[3])) do
    local key = 'directory:' .. user
    if redis.call('EXISTS', key) == 1 then
      redis.call('HSET', key, ARGV[2], '')
    end
  end
end
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
