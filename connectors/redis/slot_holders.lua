-- Who holds slots. KEYS: slot:{n} of all slots. Returns for how many ms this Redis has remembered
-- leases, then each slot's holder. It remembers since it began or was emptied, as far as calls of
-- this script could see.
-- `remembers` holds "run id, since when in ms" of this Redis.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known, since = string.match(redis.call('GET', 'remembers') or '', '^(%w+) (%d+)$')
since = tonumber(since)
if known ~= run or since > now then
  since = now
  redis.call('SET', 'remembers', run .. ' ' .. string.format('%d', now))
end
local answer = {now - since}
for i, key in ipairs(KEYS) do
  answer[i + 1] = redis.call('GET', key)
end
return answer
