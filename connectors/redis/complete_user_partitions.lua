-- Complete an entry, and return 1. ARGV: user, the token of the filling (field `mark`), msgpack list
-- of partitions.
-- If another filling has begun, or this one has ended, change nothing and return 0.
local key = 'directory:' .. ARGV[1]
if redis.call('HGET', key, 'mark') ~= ARGV[2] then
  return 0
end
for _, partition in ipairs(cmsgpack.unpack(ARGV[3])) do
  redis.call('HSET', key, partition, '')
end
redis.call('HDEL', key, 'mark')
return 1
