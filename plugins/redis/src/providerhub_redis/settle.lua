-- Replace a reservation by what was spent, once. KEYS: a budget each. ARGV: the reservation; then for each budget
-- the amount that was spent.
for i, budget in ipairs(KEYS) do
  if redis.call('SET', budget .. ':settled:' .. ARGV[1], 1, 'NX', 'EX', 600) then
    local amount = redis.call('HGET', budget, 'of ' .. ARGV[1])
    if amount then
      redis.call('HINCRBY', budget, 'reserved', -tonumber(amount))
      redis.call('HDEL', budget, 'of ' .. ARGV[1])
      redis.call('ZREM', budget .. ':ends', ARGV[1])
    end
    redis.call('HINCRBY', budget, 'spent', ARGV[1 + i])
  end
end
