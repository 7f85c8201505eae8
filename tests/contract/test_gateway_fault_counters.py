"""What `gateway_fault` leans on at a real Envoy: a counter of each kind for each part, there before any fault."""

import asyncio
from pathlib import Path

from experiments.faults.gateway import PARTS, PERCENTAGES
from tests.contract.platform_programs import session_of
from tests.contract.test_platform_gateway import listening, metrics_of, running_gateway


def test_every_part_has_its_counters_at_zero_before_any_fault(tmp_path: Path) -> None:
    """Without a reading before the deed nothing is confirmed, so the counters must not come with the first fault."""

    async def counters() -> dict[str, float]:
        async with session_of() as session:
            await listening(session, front)
            return await metrics_of(session, front)

    with running_gateway(tmp_path) as (front, _):
        seen = asyncio.run(counters())
    for part in PARTS:
        for what in PERCENTAGES.values():
            prefix = part.replace("-", "_")
            name = f'envoy_http_fault_{what}_injected{{envoy_http_conn_manager_prefix="{prefix}"}}'
            assert seen[name] == 0, name
