-- A slot watches users. ARGV: msgpack list of user ids, the slot, for how long in ms.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, user in ipairs(cmsgpack.unpack(ARGV[1])) do
  local key = 'watchers:' .. user
  redis.call('ZADD', key, now + ARGV[3], ARGV[2])
  redis.call('PEXPIRE', key, ARGV[3])
end
