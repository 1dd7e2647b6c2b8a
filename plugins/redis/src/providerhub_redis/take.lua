-- Take a turn in all lanes, or in none. Returns the limit that is in the way, or '', and the seconds until to ask again.
-- KEYS: a lane each. ARGV: the claim, its tokens, the seconds of its lease, the second between two looks at a full lane;
-- then for each lane the most calls at once, the seconds between two starts, the tokens in a minute; '' for no limit.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local id, tokens, lease, look = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local why, due = '', now

for i, lane in ipairs(KEYS) do
  local calls, interval, most = tonumber(ARGV[2 + 3 * i]), tonumber(ARGV[3 + 3 * i]), tonumber(ARGV[4 + 3 * i])
  if calls then
    redis.call('ZREMRANGEBYSCORE', lane .. ':calls', '-inf', now)
    if redis.call('ZCARD', lane .. ':calls') >= calls and now + look > due then
      why, due = 'concurrency', now + look
    end
  end
  if interval then
    -- The generic cell rate algorithm (ITU-T I.371). A call may be early by 50 ms.
    local start = tonumber(redis.call('GET', lane .. ':next') or 0) - 0.05
    if start > due then
      why, due = 'rpm', start
    end
  end
  if most then
    local seconds, counted, total = redis.call('HGETALL', lane .. ':tokens'), {}, 0
    for j = 1, #seconds, 2 do
      if seconds[j] + 61 <= now then
        redis.call('HDEL', lane .. ':tokens', seconds[j])
      else
        counted[#counted + 1] = {tonumber(seconds[j]), tonumber(seconds[j + 1])}
        total = total + seconds[j + 1]
      end
    end
    table.sort(counted, function(a, b) return a[1] < b[1] end)
    local excess, start = total + math.min(tokens, most) - most, now
    for _, one in ipairs(counted) do
      if excess <= 0 then break end
      excess, start = excess - one[2], one[1] + 61
    end
    -- Reservations are replaced by what the calls have used, mostly less: so look again soon.
    if math.min(start, now + 10 * look) > due then
      why, due = 'tpm', math.min(start, now + 10 * look)
    end
  end
end
if why ~= '' then
  return {why, tostring(due - now)}
end

for i, lane in ipairs(KEYS) do
  local calls, interval, most = tonumber(ARGV[2 + 3 * i]), tonumber(ARGV[3 + 3 * i]), tonumber(ARGV[4 + 3 * i])
  if calls then
    redis.call('ZADD', lane .. ':calls', now + lease, id)
    redis.call('EXPIRE', lane .. ':calls', 2 * lease)
  end
  if interval then
    local after = math.max(tonumber(redis.call('GET', lane .. ':next') or 0), now) + interval
    redis.call('SET', lane .. ':next', string.format('%.6f', after), 'EX', math.ceil(after - now) + 1)
  end
  if most then
    redis.call('HINCRBYFLOAT', lane .. ':tokens', math.floor(now), math.min(tokens, most))
    redis.call('EXPIRE', lane .. ':tokens', 62)
  end
end
return {'', tostring(math.floor(now))}
