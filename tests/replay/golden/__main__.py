"""``python -m tests.replay.golden [NAME …] [--records] [--check]``: judges golden records anew and prints what changed.

With ``--records`` those of the twin are rehearsed and stored anew first. Records of older versions are never made anew.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import tempfile
from pathlib import Path

from tests.replay import golden


def main() -> int:
    """Return 1 where something differs and ``--check`` was given."""
    parser = argparse.ArgumentParser(prog="python -m tests.replay.golden", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="golden records; all by default")
    parser.add_argument("--records", action="store_true", help="rehearse and store the twin's records anew")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where verdicts differ")
    asked = parser.parse_args()
    known = {*golden.MADE, *golden.names()}
    unknown = [name for name in asked.names if name not in known]
    if unknown:
        parser.error(f"there is no golden record {unknown[0]!r}; there are: {', '.join(sorted(known))}")
    changed = [name for name in asked.names or sorted(known) if renew(name, asked.records, asked.check)]
    sys.stdout.write(f"{len(changed)} of {len(asked.names or known)} differ: {', '.join(changed) or 'none'}\n")
    return int(asked.check and bool(changed))


def renew(name: str, anew: bool, check: bool) -> bool:
    """Judge one record, print and store the difference; tell whether there is one."""
    with tempfile.TemporaryDirectory() as scratch:
        path = golden.GOLDEN_DIR / f"{name}.zip"
        if name in golden.MADE and not check and (anew or not path.exists()):
            golden.pack(name, golden.make(name, Path(scratch, "made")))
        found = golden.answers(golden.unpack(name, Path(scratch, "stored")))
    expected = golden.verdicts_file(name)
    before = expected.read_bytes() if expected.exists() else b""
    if found == before:
        return False
    lines = (before.decode().splitlines(True), found.decode().splitlines(True))
    sys.stdout.writelines(difflib.unified_diff(*lines, f"{name} (stored)", f"{name} (today)", n=1))
    if not check:
        expected.write_bytes(found)
    return True


if __name__ == "__main__":
    sys.exit(main())
