-- Where users have conversations. ARGV: msgpack list of [user, a new name], time to live in ms. Returns as msgpack, in the same
-- order, {'', {partition, ...}} of a complete entry, {mark, {}} of one that is filling. One that is unknown is made, and fills under
-- its new name. An entry is known in its epoch only, and an epoch ends with the run of Redis that it began in: what a file, or
-- another server, brings back may lack what has begun since. The epoch's own name goes with a wipe, and when a server that was
-- replaced comes back.
local asked = cmsgpack.unpack(ARGV[1])
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local named = redis.call('GET', 'directory')
if not named or string.sub(named, 1, #run) ~= run then
  named = run .. ' ' .. asked[1][2]
  redis.call('SET', 'directory', named)
end
local epoch = string.sub(named, #run + 2)
local found = {}
for n, one in ipairs(asked) do
  local key = 'directory:' .. one[1]
  local fields = redis.call('HGETALL', key)
  local known = false
  local mark = ''
  local partitions = {}
  for i = 1, #fields, 2 do
    if fields[i] == 'epoch' then
      known = fields[i + 1] == epoch
    elseif fields[i] == 'mark' then
      mark = fields[i + 1]
    else
      partitions[#partitions + 1] = tonumber(fields[i])
    end
  end
  if not known then
    redis.call('DEL', key)
    redis.call('HSET', key, 'epoch', epoch, 'mark', one[2])
    mark = one[2]
  end
  redis.call('PEXPIRE', key, ARGV[2])
  found[n] = {mark, mark == '' and partitions or {}}
end
return cmsgpack.pack(found)
