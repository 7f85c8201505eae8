"""``python -m tests.replay.snapshots [--check]``: lets judges speak anew, prints what changed and stores it."""

from __future__ import annotations

import argparse
import difflib
import sys

import pytest

from tests.replay import snapshots

OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--ignore=tests/replay/test_fuzzed_records.py")


def main() -> int:
    """Return 1 where a test failed, or where something differs and ``--check`` was given."""
    parser = argparse.ArgumentParser(prog="python -m tests.replay.snapshots", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where something differs")
    check = parser.parse_args().check
    snapshots.collected = {}
    if pytest.main([*OPTIONS, "tests/replay"]) != 0:
        sys.stderr.write("snapshots: a test failed, so nothing was stored; mend it first\n")
        return 1
    names = {path.stem for path in snapshots.FOLDER.glob("*.txt")} | snapshots.collected.keys()
    changed = [name for name in sorted(names) if renew(name, check)]
    sys.stdout.write(f"{len(changed)} of {len(names)} differ: {', '.join(changed) or 'none'}\n")
    return int(check and bool(changed))


def renew(name: str, check: bool) -> bool:
    """Print and store the difference of one snapshot; tell whether there is one. One without situations goes."""
    path, told = snapshots.stored_file(name), (snapshots.collected or {}).get(name)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    now = snapshots.as_text(told) if told else ""
    if now == before:
        return False
    lines = (before.splitlines(True), now.splitlines(True))
    sys.stdout.writelines(difflib.unified_diff(*lines, f"{name} (stored)", f"{name} (today)", n=1))
    if not check and now:
        path.write_text(now, encoding="utf-8")
    elif not check:
        path.unlink()
    return True


if __name__ == "__main__":
    sys.exit(main())
