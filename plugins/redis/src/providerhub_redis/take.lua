-- Take turns in all lanes, or in none, and further ones in stock. Returns the limit that is in the way and the seconds until to ask
-- again; or '', the second of the tokens, and for each lane the calls, the starts, the seconds until the last of these, the tokens.
-- KEYS: a lane each. ARGV: the process, the seconds of its lease, the seconds between two looks at a full lane, the most seconds
-- that a start may lie ahead, the channel of the lanes for which a process waits; then for each lane the most calls at once, the seconds between two
-- starts, the most tokens in a minute ('' for no limit); the calls, starts and tokens that are needed; and those for the stock.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local process, lease, look, ahead, channel = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local why, due, blocked = '', now, ''
local free, start, room = {}, {}, {}

local function arg(lane, place)
  return tonumber(ARGV[9 * lane - 4 + place])
end

for i, lane in ipairs(KEYS) do
  local calls, interval, most = arg(i, 1), arg(i, 2), arg(i, 3)
  if calls then
    free[i] = calls
    for _, gone in ipairs(redis.call('ZRANGEBYSCORE', lane .. ':leases', '-inf', now)) do
      redis.call('HDEL', lane .. ':calls', gone)
      redis.call('ZREM', lane .. ':leases', gone)
    end
    for _, held in ipairs(redis.call('HVALS', lane .. ':calls')) do
      free[i] = free[i] - held
    end
    if arg(i, 4) > free[i] and now + look > due then
      why, due, blocked = 'concurrency', now + look, lane
    end
  end
  if interval then
    -- The generic cell rate algorithm (ITU-T I.371). A call may be early by 50 ms.
    start[i] = math.max(tonumber(redis.call('GET', lane .. ':next') or 0), now)
    if arg(i, 5) > 0 and start[i] - 0.05 > due then
      why, due, blocked = 'rpm', start[i] - 0.05, lane
    end
  end
  if most then
    local seconds, counted, total = redis.call('HGETALL', lane .. ':tokens'), {}, 0
    for j = 1, #seconds, 2 do
      if seconds[j] + 62 <= now then
        redis.call('HDEL', lane .. ':tokens', seconds[j])
      else
        counted[#counted + 1] = {tonumber(seconds[j]), tonumber(seconds[j + 1])}
        total = total + seconds[j + 1]
      end
    end
    table.sort(counted, function(a, b) return a[1] < b[1] end)
    room[i] = most - total
    local excess, turn = arg(i, 6) - room[i], now
    for _, one in ipairs(arg(i, 6) > 0 and counted or {}) do
      if excess <= 0 then break end
      excess, turn = excess - one[2], one[1] + 62
    end
    -- Reservations are replaced by what the calls have used, mostly less: so look again soon.
    if math.min(turn, now + 10 * look) > due then
      why, due, blocked = 'tpm', math.min(turn, now + 10 * look), lane
    end
  end
end
if why ~= '' then
  -- A process with a stock gives it back, and takes none while others wait.
  if redis.call('SET', blocked .. ':wanted', 1, 'PX', 2000, 'NX') then
    redis.call('PUBLISH', channel, blocked)
    due = why == 'concurrency' and now + look / 10 or due
  else
    redis.call('PEXPIRE', blocked .. ':wanted', 2000)
  end
  return {why, tostring(due - now)}
end

local taken = {'', tostring(math.floor(now))}
for i, lane in ipairs(KEYS) do
  local share = redis.call('EXISTS', lane .. ':wanted') == 1 and 0 or 1
  local calls, starts, last, tokens = 0, 0, 0, 0
  if free[i] then
    calls = arg(i, 4) + share * math.max(0, math.min(arg(i, 7), math.floor((free[i] - arg(i, 4)) / 2)))
    if calls > 0 then
      redis.call('HINCRBY', lane .. ':calls', process, calls)
      redis.call('EXPIRE', lane .. ':calls', 2 * lease)
      redis.call('ZADD', lane .. ':leases', now + lease, process)
      redis.call('EXPIRE', lane .. ':leases', 2 * lease)
    end
  end
  if start[i] then
    local interval = arg(i, 2)
    local most = math.floor((now + ahead - start[i]) / interval) + 1 - arg(i, 5)
    starts = arg(i, 5) + share * math.max(0, math.min(arg(i, 8), most))
    last = start[i] + (starts - 1) * interval - now
    if starts > 0 then
      local after = start[i] + starts * interval
      redis.call('SET', lane .. ':next', string.format('%.6f', after), 'EX', math.ceil(after - now) + 1)
    end
  end
  if room[i] then
    tokens = arg(i, 6) + share * math.max(0, math.min(arg(i, 9), (room[i] - arg(i, 6)) / 2))
    if tokens > 0 then
      redis.call('HINCRBYFLOAT', lane .. ':tokens', math.floor(now), tokens)
      redis.call('EXPIRE', lane .. ':tokens', 63)
    end
  end
  for _, found in ipairs({calls, starts, last, tokens}) do
    taken[#taken + 1] = tostring(found)
  end
end
return taken
