-- Renew a slot's lease. KEYS[1]: slot:{n}. ARGV: node id, lease in ms.
-- Returns Redis' run id, its time in ms, and 'held', 'vanished' (it was nobody's and is taken) or 'taken' (another node has it;
-- nothing changes).
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return {run, now, 'taken'}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {run, now, holder and 'held' or 'vanished'}
