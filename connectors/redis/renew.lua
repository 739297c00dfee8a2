-- Renew a slot's lease. KEYS[1]: slot:{n}. ARGV: node id, lease in ms.
-- Returns Redis' run id and 'held', 'vanished' (it was gone and is taken again) or 'taken' (another node has it; nothing
-- changes).
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return {run, 'taken'}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {run, holder and 'held' or 'vanished'}
