-- Renew a worker's claims. KEYS: owner:{stage}:{partition} each. ARGV: the worker's address, claim in ms.
-- Another worker's claim stays: who took a partition later is the one that has it.
for _, key in ipairs(KEYS) do
  local holder = redis.call('GET', key)
  if not holder or holder == ARGV[1] then
    redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
  end
end
