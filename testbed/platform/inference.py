"""The inference service: ``POST /v1/infer`` occupies one simulated GPU, one request at a time.

It sheds with 503 + Retry-After when its queue is full, and exports the device gauges under the names that NVIDIA's DCGM
exporter uses. Its labels ``pod`` and ``namespace`` become ``exported_*`` when Prometheus adds its own, as with the real
exporter. Run: ``python -m testbed.platform.inference``.
"""

import logging
import zlib
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from testbed.platform import bodies, jsonlog, serving
from testbed.platform.admission import Admission, Shed
from testbed.platform.device import Device
from testbed.platform.settings import Environment

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CODES = ("200", "400", "500", "503")
DEVICE_LABELS = ("gpu", "UUID", "modelName", "pod", "namespace")
FRAMEBUFFER_MIB = 81_920


@dataclass(frozen=True)
class InferenceSettings:
    """Configuration of one inference process."""

    bind_ip: str
    port: int
    pod: str
    namespace: str
    device_ms: float  # device time of one request
    queue_max: int
    retry_after_s: int
    framebuffer_used_mib: int

    @classmethod
    def from_env(cls, env: Environment) -> "InferenceSettings":
        """Read the settings; raises SettingsError."""
        return cls(
            bind_ip=env.bind_ip(),
            port=env.port("PORT", 8080),
            pod=env.text("POD_NAME"),
            namespace=env.text("POD_NAMESPACE"),
            device_ms=env.number("INFERENCE_DEVICE_MS", 40, 0, 60_000),
            queue_max=env.integer("INFERENCE_QUEUE_MAX", 32, 0, 10_000),
            retry_after_s=env.integer("INFERENCE_RETRY_AFTER_S", 1, 1, 60),
            framebuffer_used_mib=env.integer("INFERENCE_FRAMEBUFFER_USED_MIB", 16_384, 0, FRAMEBUFFER_MIB),
        )


class InferenceMetrics:
    """The service's counters and its device's gauges."""

    def __init__(self, registry: CollectorRegistry, settings: InferenceSettings, device: Device) -> None:
        self.requests = Counter("inference_requests", "Requests answered, by code.", ["code"], registry=registry)
        self.duration = Histogram(
            "inference_request_duration_seconds", "Time to answer.", buckets=BUCKETS_S, registry=registry
        )
        self.shed = Counter("inference_shed", "Requests refused because the queue was full.", registry=registry)
        self.tokens = Counter("inference_tokens", "Tokens, by kind.", ["kind"], registry=registry)
        for code in CODES:
            self.requests.labels(code)
        for kind in ("prompt", "completion"):
            self.tokens.labels(kind)
        self._device_gauges(registry, settings, device)

    @staticmethod
    def _device_gauges(registry: CollectorRegistry, settings: InferenceSettings, device: Device) -> None:
        uuid = f"GPU-{zlib.crc32(settings.pod.encode()):08x}"
        values = ("0", uuid, "simulated", settings.pod, settings.namespace)
        used = settings.framebuffer_used_mib
        gauges = {
            "DCGM_FI_DEV_GPU_UTIL": ("GPU utilisation in percent.", device.utilisation_percent),
            "DCGM_FI_DEV_FB_USED": ("Framebuffer in use in MiB.", lambda: float(used)),
            "DCGM_FI_DEV_FB_FREE": ("Framebuffer free in MiB.", lambda: float(FRAMEBUFFER_MIB - used)),
        }
        for name, (text, read) in gauges.items():
            Gauge(name, text, DEVICE_LABELS, registry=registry).labels(*values).set_function(read)


class InferenceService:
    """Answers completion requests."""

    def __init__(self, settings: InferenceSettings, registry: CollectorRegistry) -> None:
        self._settings = settings
        self._device = Device()
        self._admission = Admission(1, settings.queue_max)
        self._metrics = InferenceMetrics(registry, settings, self._device)

    async def infer(self, request: web.Request) -> web.Response:
        """``POST /v1/infer``: 200 with token counts, 400 for a bad body, 503 when the queue is full."""
        return await serving.counted(self._answer(request), self._metrics.requests, self._metrics.duration)

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            asked = bodies.inference_of(await bodies.json_object(request))
        except bodies.BadBody as error:
            return web.json_response({"error": "bad_request", "reason": str(error)}, status=400)
        try:
            async with self._admission.slot():
                await self._device.run(self._settings.device_ms / 1000)
        except Shed:
            self._metrics.shed.inc()
            headers = {"Retry-After": str(self._settings.retry_after_s)}
            reason = "the device's queue is full"
            return web.json_response({"error": "overloaded", "reason": reason}, status=503, headers=headers)
        return self._inferred(asked)

    def _inferred(self, asked: bodies.Inference) -> web.Response:
        tokens = {"prompt": bodies.tokens_of(asked.prompt), "completion": asked.max_tokens}
        for kind, count in tokens.items():
            self._metrics.tokens.labels(kind).inc(count)
        jsonlog.log(logging.DEBUG, "inferred", **tokens)
        return web.json_response({"tokens": tokens})


async def main(env: Environment) -> int:
    """Serve until told to stop."""
    settings = InferenceSettings.from_env(env)
    registry = CollectorRegistry()
    lifecycle = serving.Lifecycle()
    service = InferenceService(settings, registry)
    app = serving.application(lifecycle, serving.metrics_page(registry))
    app.router.add_post("/v1/infer", service.infer)
    serving.name_pod(app, env)
    return await serving.serve_until_stopped(app, lifecycle, settings.bind_ip, settings.port)


if __name__ == "__main__":
    serving.run("inference", main)
