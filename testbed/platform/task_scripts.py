"""The Redis scripts that keep the task ledger right: each is one atomic step, safe to repeat.

The ledger: ``task:<id>`` holds ``enqueued``, ``done`` or ``dead``; counters ``tasks:enqueued``, ``tasks:done``,
``tasks:dead``, ``tasks:late`` count each task id once, ``tasks:duplicate`` counts executions and enqueues beyond the
first; hash ``tasks:open`` holds the ids that are neither done nor dead. An entry leaves the stream in the same step in
which its task is counted, so at every instant  enqueued = done + dead + length of the stream + lost.
No Python logic belongs here.
"""

ENQUEUE = """
-- KEYS: stream, open, enqueued, duplicate.
-- ARGV: ttl_s, group, then task_id, conversation_id, turn, enqueued_at_ms per task.
-- After a Redis restart no adapter may be there to make the group; a scaler that asks for pending entries would fail.
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[2], '0', 'MKSTREAM')
end
local added = 0
for i = 3, #ARGV, 4 do
  local id = ARGV[i]
  if redis.call('SET', 'task:' .. id, 'enqueued', 'NX', 'EX', ARGV[1]) then
    redis.call('XADD', KEYS[1], '*', 'task_id', id, 'conversation_id', ARGV[i + 1], 'turn', ARGV[i + 2],
      'enqueued_at_ms', ARGV[i + 3])
    redis.call('HSET', KEYS[2], id, ARGV[i + 3])
    redis.call('INCR', KEYS[3])
    added = added + 1
  else
    redis.call('INCR', KEYS[4])
  end
end
return added
"""

COMPLETE = """
-- KEYS: stream, open, done, duplicate, late. ARGV: ttl_s, group, entry_id, task_id, late_after_ms.
-- Returns {outcome, age_ms}: outcome is done, late, duplicate, or unknown (Redis has lost the ledger meanwhile).
local key = 'task:' .. ARGV[4]
local state = redis.call('GET', key)
local now = redis.call('TIME')
local age_ms = now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(string.match(ARGV[3], '^(%d+)'))
redis.call('XACK', KEYS[1], ARGV[2], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
if not state then
  return {'unknown', age_ms}
end
if state ~= 'enqueued' then
  redis.call('INCR', KEYS[4])
  return {'duplicate', age_ms}
end
redis.call('SET', key, 'done', 'EX', ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[4])
redis.call('INCR', KEYS[3])
if age_ms > tonumber(ARGV[5]) then
  redis.call('INCR', KEYS[5])
  return {'late', age_ms}
end
return {'done', age_ms}
"""

DEAD_LETTER = """
-- KEYS: stream, open, dead, dead stream. ARGV: ttl_s, group, entry_id, task_id, deliveries, length_max.
-- Returns 1 when the task became a dead letter now, 0 when it was finished already.
local key = 'task:' .. ARGV[4]
local state = redis.call('GET', key)
redis.call('XACK', KEYS[1], ARGV[2], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
if state ~= 'enqueued' then
  return 0
end
redis.call('SET', key, 'dead', 'EX', ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[4])
redis.call('INCR', KEYS[3])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[6], '*', 'task_id', ARGV[4], 'entry_id', ARGV[3],
  'deliveries', ARGV[5])
return 1
"""
