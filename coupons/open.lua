-- Open a rebuilt gate, atomically, stamped with the server it was built on.
-- KEYS: gate hash, users hash, loaded users hash. ARGV: expected users, expires at (ms), then field, value, ...
-- Answers 1, or 0 when the loaded users are not all there (the server restarted in between).
if redis.call('HLEN', KEYS[3]) ~= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
if ARGV[1] ~= '0' then
    redis.call('RENAME', KEYS[3], KEYS[2])
    redis.call('PEXPIREAT', KEYS[2], ARGV[2])
end
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
redis.call('HSET', KEYS[1], 'run_id', run_id, unpack(ARGV, 3))
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
return 1
