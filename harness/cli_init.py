"""Command `init`. A composition root: asks, shows, writes, and has the result examined; derives nothing itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness import exits
from harness.cli_options import settings_option
from harness.doctor_lines import status_of, told
from harness.model.errors import SpecError
from harness.settings import load_settings

QUEUE_KINDS = ("redis", "kafka", "exporter", "none")


def _options(command: Any) -> Any:
    """Add one option a key of the file that may be given."""
    keys = (
        ("--kubeconfig", "FILE", "Default: KUBECONFIG if it names one file, else ~/.kube/config."),
        ("--gateway-url", "URL", "The only address that load is sent to."),
        ("--prometheus-url", "URL", "Where metrics are."),
        ("--prometheus-token-env", "NAME", "Variable with a bearer token."),
        ("--prometheus-user-env", "NAME", "Variable with a user, for basic authentication."),
        ("--prometheus-password-env", "NAME", "Variable with the user's password."),
        ("--prometheus-password-file", "FILE", "File with the user's password instead."),
        ("--prometheus-cert-file", "FILE", "Client certificate, for mutual TLS."),
        ("--prometheus-key-file", "FILE", "Its key."),
        ("--prometheus-ca-file", "FILE", "CA of Prometheus."),
        ("--opt-in-label", "KEY=VALUE", "Of namespaces that may be broken (gameday.local/opt-in=true)."),
        ("--gpu-resource", "NAME", "What nodes offer GPUs as."),
        ("--allowed-hours", "TEXT", "Such as 'Mon-Fri 09:00-16:00 Europe/Berlin'."),
        ("--rate-max-rps", "N", "Most requests a second; there is no default."),
        ("--scrape-interval-s", "N", "How often Prometheus scrapes."),
    )
    for option, metavar, text in reversed(keys):
        command = click.option(option, metavar=metavar, help=text)(command)
    return command


@click.command("init")
@click.argument("name", default="staging")
@click.option("--context", default="", metavar="NAME", help="Context of the kubeconfig; asked where there are several.")
@_options
@click.option("--namespace", "namespaces", multiple=True, metavar="NAME", help="That may be broken; may be repeated.")
@click.option("--query-pack", multiple=True, metavar="NAME", help="Of the settings file; may be repeated.")
@click.option("--queue-kind", type=click.Choice(QUEUE_KINDS), help="What the queue is.")
@click.option("--loopback-only", is_flag=True, help="Refuse every address outside 127.0.0.0/8.")
@click.option("--yes", is_flag=True, help="Ask nothing: what cannot be found out must be an option.")
@settings_option
def init_command(name: str, context: str, yes: bool, settings: str, **given: Any) -> int:
    """Describe the target NAME (staging) from a kubeconfig context, write it down and have it examined."""
    from harness.init_file import with_target, write_settings  # noqa: PLC0415 - brings tomlkit
    from harness.init_target import Finder, Interview, find_context, present_target  # noqa: PLC0415 - brings the drivers

    path = Path(settings)
    known = load_settings(path)
    present = present_target(path, name)
    ask = None if yes else _asked
    options: dict[str, Any] = {
        key: list(value) if isinstance(value, tuple) else value for key, value in given.items() if value
    }
    wanted = context or str(present.get("context") or "")
    kubeconfig, chosen = find_context(wanted, str(options.get("kubeconfig") or present.get("kubeconfig") or ""), ask)
    finder = Finder(kubeconfig, chosen, Interview(options, present, ask), known.query_packs, click.echo)
    identity = finder.identify()
    click.echo(f"{chosen}: {identity.api_server}, Kubernetes {identity.server_version}, as {identity.user}")
    if not yes and not click.confirm(f"is this the cluster that may be broken as {name!r}?"):
        raise click.Abort
    values = finder.describe(identity)
    text = with_target(path, name, values)
    _show(name, values)
    if not yes and not click.confirm(f"write this into {path.name}?", default=True):
        raise click.Abort
    write_settings(path, text)
    click.echo(f"wrote targets.{name} into {path}")
    return _proven(path, name)


def _asked(question: str, default: str) -> str:
    return str(click.prompt(question, default=default or None))


def _show(name: str, values: Any) -> None:
    from harness.init_file import target_text  # noqa: PLC0415 - brings tomlkit

    click.echo(f"\n{target_text(name, values)}")


def _proven(path: Path, name: str) -> int:
    """Have the target examined; what was written stays also where something is found."""
    from harness.doctor_wiring import examine  # noqa: PLC0415 - brings the drivers

    try:
        lines = examine(load_settings(path), name)
    except SpecError as error:
        click.echo(f"gameday: {error}", err=True)
        return exits.USAGE
    for line in told(name, lines):
        click.echo(line)
    return status_of(lines)


COMMANDS = (init_command,)
