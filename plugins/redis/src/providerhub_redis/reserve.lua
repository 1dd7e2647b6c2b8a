-- Reserve an amount of each budget, or of none. Returns the place of the budget that has not enough left, what it has spent and
-- what is reserved; 0 when all is reserved. KEYS: a budget each. ARGV: the reservation, the seconds after which it ends by itself,
-- the seconds for which budgets are kept (0 for ever); then for each budget its limit and the amount.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
for i, budget in ipairs(KEYS) do
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', budget .. ':ends', '-inf', now)) do
    redis.call('HINCRBY', budget, 'reserved', -tonumber(redis.call('HGET', budget, 'of ' .. gone)))
    redis.call('HDEL', budget, 'of ' .. gone)
    redis.call('ZREM', budget .. ':ends', gone)
  end
  local spent, reserved = redis.call('HGET', budget, 'spent') or '0', redis.call('HGET', budget, 'reserved') or '0'
  if spent + reserved + ARGV[3 + 2 * i] > tonumber(ARGV[2 + 2 * i]) then
    return {i, spent, reserved}
  end
end
for i, budget in ipairs(KEYS) do
  redis.call('HINCRBY', budget, 'reserved', ARGV[3 + 2 * i])
  redis.call('HSET', budget, 'of ' .. ARGV[1], ARGV[3 + 2 * i])
  redis.call('ZADD', budget .. ':ends', now + ARGV[2], ARGV[1])
  for _, key in ipairs(ARGV[3] == '0' and {} or {budget, budget .. ':ends'}) do
    redis.call('EXPIRE', key, ARGV[3])
  end
end
return {0, '0', '0'}
