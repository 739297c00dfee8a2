-- Write routes; returns the places, from 0 on, of those that were not there. ARGV: msgpack list of [user, device,
-- "node slot since", since], time to live in seconds, what may be a difference of clocks in ms. One of a later session stays:
-- a node that was late must not take a device back. One from the future gives way: this Redis' clock is behind that of the one
-- before.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local anew = {}
for i, route in ipairs(cmsgpack.unpack(ARGV[1])) do
  local key = 'routes:' .. route[1]
  local held = redis.call('HGET', key, route[2])
  local since = held and tonumber(string.match(held, '(%d+)$')) or 0
  if held ~= route[3] and (since <= route[4] or since > now + ARGV[3]) then
    redis.call('HSET', key, route[2], route[3])
    anew[#anew + 1] = i - 1
  end
  redis.call('EXPIRE', key, ARGV[2])
end
return anew
