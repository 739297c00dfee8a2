-- Give a slot back, if this node holds it. KEYS[1]: slot:{n}. ARGV: node id.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
