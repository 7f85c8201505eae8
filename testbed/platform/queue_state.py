"""Reads the whole state of the tool-call queue from Redis in one atomic step. It changes nothing.

What Redis cannot tell (a group's lag after entries were deleted by hand) is None, never a guess.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from redis.asyncio import Redis

from testbed.platform import tasks

# One script, so that the counters and the stream belong to the same instant: the sum of the ledger must be exact.
READ = """
-- KEYS: stream, dead stream, enqueued, done, dead, duplicate, late. ARGV: group.
local function count(key) return tonumber(redis.call('GET', key) or '0') end
local function first_id(from)
  local entry = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 1)[1]
  return entry and entry[1]
end
local now = redis.call('TIME')
local state = {
  now_ms = now[1] * 1000 + math.floor(now[2] / 1000), depth = redis.call('XLEN', KEYS[1]),
  dead_letters = redis.call('XLEN', KEYS[2]), pending = 0,
  enqueued = count(KEYS[3]), done = count(KEYS[4]), dead = count(KEYS[5]),
  duplicate = count(KEYS[6]), late = count(KEYS[7]),
}
local group
if redis.call('EXISTS', KEYS[1]) == 1 then
  for _, fields in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local found = {}
    for i = 1, #fields, 2 do found[fields[i]] = fields[i + 1] end
    if found['name'] == ARGV[1] then group = found end
  end
end
if group then
  state.pending = group['pending']
  state.lag = group['lag'] or nil
  state.undelivered_id = first_id('(' .. group['last-delivered-id'])
  local summary = redis.call('XPENDING', KEYS[1], ARGV[1])
  state.pending_id = summary[1] > 0 and summary[2] or nil
else
  state.lag = state.depth
  state.undelivered_id = first_id('-')
end
return cjson.encode(state)
"""


@dataclass(frozen=True)
class QueueState:
    """The queue at one instant. Counts are task ids, each counted once; ``oldest_age_s`` is 0 for an empty queue."""

    depth: int
    pending: int
    lag: int | None  # None: Redis says that it does not know
    dead_letters: int
    oldest_age_s: float
    enqueued: int
    done: int
    dead: int
    late: int
    duplicate: int

    @property
    def lost(self) -> int:
        """Task ids that were enqueued and are neither done, dead nor in the stream."""
        return self.enqueued - self.done - self.dead - self.depth


Reader = Callable[[], Awaitable[QueueState]]


async def read(redis: Redis) -> QueueState:
    """Return the state; raises redis.exceptions.RedisError when Redis cannot be reached."""
    keys = (
        tasks.STREAM, tasks.DEAD_STREAM, tasks.ENQUEUED, tasks.DONE, tasks.DEAD, tasks.DUPLICATE, tasks.LATE,
    )  # fmt: skip
    return parse(await redis.register_script(READ)(keys=keys, args=[tasks.GROUP]))


def parse(raw: str) -> QueueState:
    """Return the state that the script's JSON describes."""
    state = json.loads(raw)
    oldest_ms = [_ms(state[key]) for key in ("undelivered_id", "pending_id") if state.get(key)]
    age_ms = max(0, state["now_ms"] - min(oldest_ms)) if oldest_ms else 0
    lag = state.get("lag")
    counts = {name: int(state[name]) for name in ("depth", "pending", "dead_letters")}
    ledger = {name: int(state[name]) for name in ("enqueued", "done", "dead", "late", "duplicate")}
    return QueueState(**counts, **ledger, lag=None if lag is None else int(lag), oldest_age_s=age_ms / 1000)


def _ms(entry_id: str) -> int:
    return int(entry_id.split("-", maxsplit=1)[0])
