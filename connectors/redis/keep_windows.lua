-- Keep windows of recent messages. KEYS: recent:{log}:{conversation} of each. ARGV: the time to live
-- of what is written, in ms; how many messages stay, how many more are borne, how many bytes of
-- lines; then for each key 1 (write a window) or 0 (add to it), first number, last number, lines.
--
-- A window is a string: "first last", 16 digits each, and a line feed; then a line for each message,
-- without a hole. Messages are added only behind the last number of a window that is there.
local HEAD = 34
local most, slack, bytes = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local function head(first, last)
  return string.format('%016d %016d\n', first, last)
end
local function without(lines, count)
  local from = 1
  for _ = 1, count do
    from = string.find(lines, '\n', from, true) + 1
  end
  return string.sub(lines, from)
end
-- A window of these lines with the oldest left out, if they are too many.
local function cut(first, last, lines)
  local from = 1
  while last - first + 1 > most or (#lines - from + 1 > bytes and first < last) do
    from = string.find(lines, '\n', from, true) + 1
    first = first + 1
  end
  return head(first, last) .. string.sub(lines, from)
end
local function add(key, first, last, lines)
  local from, to = string.match(redis.call('GETRANGE', key, 0, HEAD - 1), '^(%d+) (%d+)\n$')
  from, to = tonumber(from), tonumber(to)
  if not to or first > to + 1 or last <= to then
    return
  end
  local size = redis.call('APPEND', key, without(lines, to + 1 - first)) - HEAD
  redis.call('SETRANGE', key, 0, head(from, last))
  if last - from + 1 > most + slack or size > bytes then
    local all = string.sub(redis.call('GET', key), HEAD + 1)
    redis.call('SET', key, cut(from, last, all), 'KEEPTTL')
  end
end
for i, key in ipairs(KEYS) do
  local at = 4 * i
  local first, last, lines = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), ARGV[at + 4]
  if ARGV[at + 1] == '1' then
    redis.call('SET', key, cut(first, last, lines), 'PX', ARGV[1])
  else
    add(key, first, last, lines)
  end
end
