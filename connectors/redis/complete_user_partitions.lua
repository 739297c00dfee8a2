-- An entry of the directory is complete; returns 1. ARGV: user, the mark it was filling under, its partitions as a msgpack list.
-- Another mark, or none: another filling has begun, or this one has ended; nothing changes, and 0 is returned.
local key = 'directory:' .. ARGV[1]
if redis.call('HGET', key, 'mark') ~= ARGV[2] then
  return 0
end
for _, partition in ipairs(cmsgpack.unpack(ARGV[3])) do
  redis.call('HSET', key, partition, '')
end
redis.call('HDEL', key, 'mark')
return 1
