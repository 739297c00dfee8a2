-- Where a user has conversations. ARGV: user, a new name, time to live in ms.
-- Returns {'', partition, ...} of a complete entry, {mark} of one that is filling; one that is unknown is made, and fills under
-- the new name. An entry is known in its epoch only, and an epoch ends with the run of Redis that it began in: what a file, or
-- another server, brings back may lack what has begun since. The epoch's own name goes with a wipe, and when a server that was
-- replaced comes back.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local named = redis.call('GET', 'directory')
if not named or string.sub(named, 1, #run) ~= run then
  named = run .. ' ' .. ARGV[2]
  redis.call('SET', 'directory', named)
end
local epoch = string.sub(named, #run + 2)
local key = 'directory:' .. ARGV[1]
local fields = redis.call('HGETALL', key)
local found = {''}
local known = false
for i = 1, #fields, 2 do
  if fields[i] == 'epoch' then
    known = fields[i + 1] == epoch
  elseif fields[i] == 'mark' then
    found[1] = fields[i + 1]
  else
    found[#found + 1] = fields[i]
  end
end
if not known then
  redis.call('DEL', key)
  redis.call('HSET', key, 'epoch', epoch, 'mark', ARGV[2])
  found = {ARGV[2]}
end
redis.call('PEXPIRE', key, ARGV[3])
return found
