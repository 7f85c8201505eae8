"""`gameday sabotage` on the twin, as a user calls it: every saboteur is caught."""

import json
import subprocess
import sys

from harness.sabotage.saboteurs import SABOTEURS

LIMIT_S = 600.0


def test_every_saboteur_of_the_twin_is_caught_for_its_reason(tmp_path):
    command = [sys.executable, "-m", "harness.cli", "sabotage", "--json", "--runs-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    found = json.loads(done.stdout)
    assert [trial["told"] for trial in found["trials"] if not trial["caught"]] == []
    assert (done.returncode, found["caught"]) == (0, len(SABOTEURS))
    assert json.loads((tmp_path / "twin-sabotage.json").read_text()) == found
