-- In which partitions users have conversations. ARGV: msgpack list of [user, a new token], time to
-- live in ms. Returns, packed and in the same order, {'', {partition, ...}} of a complete entry, and
-- {token, {}} of one that is filling. A missing entry is made, and fills under the new token.
--
-- An entry is valid in its epoch only. An epoch ends with the run of Redis in which it began: an
-- entry that came back from a file, or from another server, may lack conversations that have begun
-- since. `directory` holds "run id, epoch"; a wipe removes it, and another server overwrites it.
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
