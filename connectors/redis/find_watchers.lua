-- Who watches users. ARGV[1]: msgpack list of user ids. Returns, packed and in the same order, the
-- slots that watch each.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
for i, user in ipairs(cmsgpack.unpack(ARGV[1])) do
  local slots = {}
  for n, slot in ipairs(redis.call('ZRANGEBYSCORE', 'watchers:' .. user, now, '+inf')) do
    slots[n] = tonumber(slot)
  end
  found[i] = slots
end
return cmsgpack.pack(found)
