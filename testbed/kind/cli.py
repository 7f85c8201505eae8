"""`gameday kind`: the platform on a kind cluster. Parses and prints; decides nothing else.

Exit status: that of the game day (`run`) · 0 done · 4 usage or environment (one message, no traceback) ·
3 anything unexpected.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from testbed.controlplane.console import Progress
from testbed.controlplane.errors import OperatorError
from testbed.kind import artefacts, gpu
from testbed.kind.cluster import cluster_names, connect, container_of, delete_cluster, ensure_cluster, nodes_of
from testbed.kind.platform import Platform
from testbed.kind.programs import need_programs, run
from testbed.kind.session import Request, recover, run_game_day
from testbed.kind.settings import settings_from
from testbed.reported import reported, run_program

_reported = reported(OperatorError)
_CLUSTER = click.option("--cluster", metavar="NAME", help="kind-NAME; GAMEDAY_KIND_CLUSTER, else gameday.")
_GPU = click.option("--gpu", "gpu_way", type=click.Choice(gpu.WAYS), help="How GPUs are mocked (plugin).")
_KEDA = click.option("--with-keda", is_flag=True, help="KEDA as well (queue-burst and others need it).")


@click.group()
def kind() -> None:
    """The sample platform on a kind cluster, and game days on it."""


@kind.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("experiment")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@_CLUSTER
@_GPU
@click.option("--keep", is_flag=True, help="Leave the cluster there afterwards.")
@click.option("--artefacts", "folder", metavar="DIR", help="Where logs and events go (runs/kind-TIME).")
@_reported
def run_command(
    experiment: str,
    arguments: tuple[str, ...],
    cluster: str | None,
    gpu_way: str | None,
    keep: bool,
    folder: str | None,
) -> int:
    """From nothing to verdicts: cluster, platform, the game day EXPERIMENT, and the cluster away again.

    A cluster that is there already is used, and stays. ARGUMENTS are those of `gameday run`.
    """
    where = Path(folder or f"runs/kind-{time.strftime('%Y%m%d-%H%M%S')}").resolve()
    request = Request(experiment, arguments, where, keep)
    return run_game_day(settings_from(cluster=cluster, gpu=gpu_way), request, Progress())


@kind.command("up")
@_CLUSTER
@_reported
def up_command(cluster: str | None) -> None:
    """Make the cluster, or check the one that is there."""
    need_programs()
    settings, progress = settings_from(cluster=cluster), Progress()
    ensure_cluster(settings, progress)
    progress.say(f"export KUBECONFIG={settings.kubeconfig}")


@kind.command("load")
@_CLUSTER
@_KEDA
@_reported
def load_command(cluster: str | None, with_keda: bool) -> None:
    """Build the image and put it into the nodes, with what else the engine has."""
    need_programs()
    settings, progress = settings_from(cluster=cluster), Progress()
    Platform(settings, connect(settings), progress).load(with_keda)


@kind.command("platform")
@_CLUSTER
@_GPU
@_KEDA
@click.option("--without-reaper", is_flag=True, help="Run `gameday reaper` here instead: needed to lose nodes.")
@_reported
def platform_command(cluster: str | None, gpu_way: str | None, with_keda: bool, without_reaper: bool) -> None:
    """Put the platform on the cluster, wait until it is ready, and print how to aim at it."""
    need_programs()
    settings, progress = settings_from(cluster=cluster, gpu=gpu_way), Progress()
    target = Platform(settings, connect(settings), progress).apply(with_keda, not without_reaper)
    progress.say(f"ready: gameday run NAME --target kind --settings {target}")


@kind.command("status")
@_CLUSTER
@_reported
def status_command(cluster: str | None) -> None:
    """Show the cluster's nodes, pods and target; exit 4 where there is none."""
    settings = settings_from(cluster=cluster)
    kubectl = connect(settings)
    click.echo(kubectl("get", "nodes", "-L", "gameday.local/pool"))
    click.echo(kubectl("get", "pods", "-A", "-o", "wide"))
    ready = settings.target_settings.exists()
    click.echo(f"settings  {settings.target_settings if ready else 'none yet: gameday kind platform'}")


@kind.command("down")
@_CLUSTER
@click.option("--artefacts", "folder", metavar="DIR", help="Keep logs and events there first.")
@click.option("--recover", "recover_first", is_flag=True, help="Take back first what a game day may have left.")
@_reported
def down_command(cluster: str | None, folder: str | None, recover_first: bool) -> None:
    """Delete the cluster if gameday made it; safe to call again."""
    settings, progress = settings_from(cluster=cluster), Progress()
    there = settings.cluster in cluster_names()
    if there and recover_first and settings.target_settings.exists():
        recover(settings)
    if there and folder:
        artefacts.collect(settings, Path(folder).resolve(), progress)
    found = delete_cluster(settings, progress)
    progress.say(f"cluster {settings.cluster} is gone" if found else f"there is no cluster {settings.cluster}")


@kind.command("node")
@_CLUSTER
@click.argument("action", type=click.Choice(["stop", "start"]))
@click.argument("node")
@_reported
def node_command(cluster: str | None, action: str, node: str) -> None:
    """Stop or start the container that is NODE (the commands node_stop and node_start of the target)."""
    kubectl = connect(settings_from(cluster=cluster))
    found = [one for one in nodes_of(kubectl) if one["metadata"]["name"] == node]
    if not found:
        known = json.dumps([one["metadata"]["name"] for one in nodes_of(kubectl)])
        raise OperatorError(f"no node {node!r} in the cluster; there are: {known}")
    run(["docker", action, container_of(found[0])])


def main(arguments: list[str] | None = None) -> int:
    """Run the CLI; return its exit status."""
    return run_program(kind, arguments, "python -m testbed.kind")
