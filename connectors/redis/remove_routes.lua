-- Remove devices' routes that are still ours. ARGV[1]: {user, device, "node slot since"} of each, as a msgpack list.
for _, route in ipairs(cmsgpack.unpack(ARGV[1])) do
  local key = 'routes:' .. route[1]
  if redis.call('HGET', key, route[2]) == route[3] then
    redis.call('HDEL', key, route[2])
  end
end
