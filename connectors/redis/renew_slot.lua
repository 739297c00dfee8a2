-- Renew a slot's lease, or take it if it is nobody's.
-- KEYS[1]: slot:{n}. ARGV: node id, lease in ms, 1 to take the slot.
-- Returns Redis' run id, its time in ms, and what it found: 'held' (by this node), 'vanished'
-- (nobody held it), or 'taken' (another node holds it, and nothing changes).
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return {run, now, 'taken'}
end
if holder or ARGV[3] == '1' then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return {run, now, holder and 'held' or 'vanished'}
