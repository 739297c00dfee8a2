-- Write routes. ARGV: msgpack list of [user, device, "node slot"], time to live in seconds, HSET (a newer route replaces an
-- older one) or HSETNX (it does not).
for _, route in ipairs(cmsgpack.unpack(ARGV[1])) do
  local key = 'routes:' .. route[1]
  redis.call(ARGV[3], key, route[2], route[3])
  redis.call('EXPIRE', key, ARGV[2])
end
