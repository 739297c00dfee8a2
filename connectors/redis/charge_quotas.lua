-- Take from token buckets what nodes have given out already. ARGV: msgpack list of [bucket, cost,
-- tokens a second, most tokens].
--
-- A bucket that is not there is full. Its debt is at most what it holds when it is full. Returns
-- what each holds now, packed.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local levels = {}
for i, charge in ipairs(cmsgpack.unpack(ARGV[1])) do
  local key = 'quota:' .. charge[1]
  local rate, most = charge[3], charge[4]
  local held, at = string.match(redis.call('GET', key) or '', '^(%S+) (%S+)$')
  local level = most
  if held then
    level = math.min(most, tonumber(held) + math.max(0, now - tonumber(at)) * rate)
  end
  level = math.max(-most, level - charge[2])
  redis.call('SET', key, string.format('%.6f %.6f', level, now),
    'PX', math.ceil((most - level) / rate * 1000) + 1)
  levels[i] = level
end
return cmsgpack.pack(levels)
