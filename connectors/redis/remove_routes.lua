-- Remove routes that are still the same. ARGV[1]: msgpack list of [user, device, "node slot since"].
for _, route in ipairs(cmsgpack.unpack(ARGV[1])) do
  local key = 'routes:' .. route[1]
  if redis.call('HGET', key, route[2]) == route[3] then
    redis.call('HDEL', key, route[2])
  end
end
