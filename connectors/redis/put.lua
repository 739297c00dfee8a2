-- Write routes. ARGV: msgpack list of [user, device, "node slot since", since], time to live in seconds. One of a later session
-- stays: a node that was late must not take a device back.
for _, route in ipairs(cmsgpack.unpack(ARGV[1])) do
  local key = 'routes:' .. route[1]
  local held = redis.call('HGET', key, route[2])
  local since = held and tonumber(string.match(held, '(%d+)$')) or 0
  if since <= route[4] then
    redis.call('HSET', key, route[2], route[3])
  end
  redis.call('EXPIRE', key, ARGV[2])
end
