-- One claim at the gate, atomically: window, duplicate, remaining, place.
-- KEYS: gate hash, users hash, claims stream, pending hash. ARGV: user id, campaign id.
-- Answers {outcome, fact}: rebuild | already "position:issuance" | not_open opens_ms | closed | sold_out | placed "position:issuance".
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local gate = redis.call('HMGET', KEYS[1], 'run_id', 'opens_at', 'closes_at', 'total', 'taken', 'epoch')
-- Another run_id: the server restarted, was restored or failed over; the places may be old. PostgreSQL knows.
if gate[1] ~= run_id then return {'rebuild', ''} end
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known then return {'already', known} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now < tonumber(gate[2]) then return {'not_open', gate[2]} end
if now >= tonumber(gate[3]) then return {'closed', ''} end
if tonumber(gate[5]) >= tonumber(gate[4]) then return {'sold_out', ''} end
local position = redis.call('HINCRBY', KEYS[1], 'taken', 1)
local issuance = string.format('%.0f', tonumber(gate[6]) * 4294967296 + position)
local place = position .. ':' .. issuance
redis.call('HSET', KEYS[2], ARGV[1], place)
if redis.call('HLEN', KEYS[2]) == 1 then -- made just now: a gate opened for nobody has no users to expire with it
    redis.call('PEXPIREAT', KEYS[2], redis.call('PEXPIRETIME', KEYS[1]))
end
redis.call('HSET', KEYS[4], issuance, ARGV[2] .. ':' .. ARGV[1] .. ':' .. position)
redis.call('XADD', KEYS[3], '*', 'campaign', ARGV[2], 'user', ARGV[1], 'issuance', issuance)
return {'placed', place}
