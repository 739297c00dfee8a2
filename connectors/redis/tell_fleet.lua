-- Keep what a process says of itself, with the time by this clock. KEYS: fleet. ARGV: the process,
-- what it says.
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], time[1] .. '.' .. string.format('%06d', time[2]) .. ' ' .. ARGV[2])
