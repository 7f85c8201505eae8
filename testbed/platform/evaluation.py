"""The evaluation job: works through N items and stores a checkpoint in Redis, so that a preempted run goes on.

Exit 0 when all items are done; on SIGTERM it stores its checkpoint and exits 143, which the Job controller counts as a
failed attempt and repeats. It never starts at zero again while its checkpoint is there.
Run: ``python -m testbed.platform.evaluation``.
"""

import logging
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Gauge
from redis.asyncio import Redis

from testbed.platform import jsonlog, redis_link, serving
from testbed.platform.settings import Environment, HostPort

EXIT_TERMINATED = 143  # 128 + SIGTERM, as a shell reports it
EXIT_NO_REDIS = 2
CHECKPOINT_TTL_S = 24 * 3600


@dataclass(frozen=True)
class EvaluationSettings:
    """Configuration of one evaluation run."""

    bind_ip: str
    port: int
    redis_address: HostPort
    run: str  # the checkpoint's name: the same for every attempt of one Job
    items: int
    item_ms: int
    checkpoint_every: int  # items between two stored checkpoints

    @classmethod
    def from_env(cls, env: Environment) -> "EvaluationSettings":
        """Read the settings; raises SettingsError."""
        return cls(
            bind_ip=env.bind_ip(),
            port=env.port("PORT", 8080),
            redis_address=env.host_port("REDIS_ADDRESS"),
            run=env.text("EVALUATION_RUN"),
            items=env.integer("EVALUATION_ITEMS", 100, 1, 1_000_000),
            item_ms=env.integer("EVALUATION_ITEM_MS", 200, 0, 600_000),
            checkpoint_every=env.integer("EVALUATION_CHECKPOINT_EVERY", 10, 1, 100_000),
        )


class Evaluation:
    """One run over its items, from its checkpoint on."""

    def __init__(self, settings: EvaluationSettings, redis: Redis, lifecycle: serving.Lifecycle) -> None:
        self._settings = settings
        self._redis = redis
        self._lifecycle = lifecycle
        self._key = f"evaluation:checkpoint:{settings.run}"
        self.done = 0

    async def run(self) -> int:
        """Work until all items are done or the process is told to stop; returns the exit status."""
        self.done = int(await self._redis.get(self._key) or 0)
        jsonlog.log(
            logging.INFO, "evaluation begins", run=self._settings.run, from_item=self.done, items=self._settings.items
        )
        while self.done < self._settings.items:
            await self._lifecycle.pause(self._settings.item_ms / 1000)
            if self._lifecycle.stopping.is_set():
                await self._store()
                jsonlog.log(logging.WARNING, "evaluation stopped", run=self._settings.run, done=self.done)
                return EXIT_TERMINATED
            self.done += 1
            if self.done % self._settings.checkpoint_every == 0:
                await self._store()
        await self._store()
        jsonlog.log(logging.INFO, "evaluation finished", run=self._settings.run, done=self.done)
        return serving.EXIT_OK

    async def _store(self) -> None:
        await self._redis.set(self._key, self.done, ex=CHECKPOINT_TTL_S)


async def main(env: Environment) -> int:
    """Run to the end; a Redis that cannot be reached ends the attempt with one line and exit 2."""
    settings = EvaluationSettings.from_env(env)
    registry = CollectorRegistry()
    lifecycle = serving.Lifecycle()
    async with redis_link.connect(settings.redis_address) as redis:
        evaluation = Evaluation(settings, redis, lifecycle)
        Gauge("evaluation_items", "Items of the run.", registry=registry).set(settings.items)
        done = Gauge("evaluation_items_done", "Items finished, by this and earlier attempts.", registry=registry)
        done.set_function(lambda: evaluation.done)
        app = serving.application(lifecycle, serving.metrics_page(registry))
        runner = await serving.start(app, settings.bind_ip, settings.port)
        lifecycle.watch_signals()
        try:
            return await evaluation.run()
        except redis_link.RedisError as error:
            jsonlog.log(
                logging.ERROR,
                "evaluation cannot reach redis",
                run=settings.run,
                done=evaluation.done,
                why=jsonlog.why(error),
            )
            return EXIT_NO_REDIS
        finally:
            await runner.cleanup()


if __name__ == "__main__":
    serving.run("evaluation", main)
