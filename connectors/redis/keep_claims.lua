-- Renew a worker's claims. KEYS: owner:{stage}:{partition} of each. ARGV: the worker's address, time
-- to live in ms. Another worker's claim stays: the worker that took a partition last has it.
for _, key in ipairs(KEYS) do
  local holder = redis.call('GET', key)
  if not holder or holder == ARGV[1] then
    redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
  end
end
