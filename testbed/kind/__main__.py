"""`python -m testbed.kind` is `gameday kind`."""

import sys

from testbed.kind.cli import main

sys.exit(main())
