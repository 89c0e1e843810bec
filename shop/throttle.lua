-- A token bucket as one number (GCRA), atomically. KEYS: the bucket.
-- ARGV: microseconds per token, burst, +1 to take a token or -1 to give one back.
-- Answers the microseconds to wait; 0 means the token is yours.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
-- Never further ahead than a full bucket: the clock that wrote it may have been set back since.
local full_at = math.min(math.max(tonumber(redis.call('GET', KEYS[1]) or now), now), now + interval * burst)
local new = full_at + interval * tonumber(ARGV[3])
local wait = new - now - interval * burst
if ARGV[3] == '1' and wait > 0 then return wait end
if new <= now then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], string.format('%.0f', new), 'PX', math.ceil((new - now) / 1000))
end
return 0
