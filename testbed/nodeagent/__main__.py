"""Entry point: `python -m testbed.nodeagent --instance-dir DIR`.

Exit status: 0 stopped by a signal, 4 bad input, 1 failed.
"""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from testbed.layout import Layout, LayoutError, read_layout
from testbed.nodeagent.agent import run
from testbed.nodeagent.api import ApiError

EXIT_USAGE = 4
EXIT_FAILED = 1


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="testbed.nodeagent", description="The kubelets of a local testbed.")
    parser.add_argument("--instance-dir", type=Path, required=True, help="folder of the instance, with testbed.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        layout = read_layout(arguments.instance_dir)
        asyncio.run(_run(layout))
    except (LayoutError, ValueError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - the one line for whoever started it
        return EXIT_USAGE
    except (ApiError, OSError) as error:
        print(f"node agent of {arguments.instance_dir}: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_FAILED
    return 0


async def _run(layout: Layout) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(layout, _wait(stop))


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
