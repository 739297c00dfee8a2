-- Remove a device's route if it is still ours. KEYS[1]: routes:{user}. ARGV: device, "node slot since".
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
