"""`python -m testbed` is `gameday testbed`."""

import sys

from testbed.cli import main

sys.exit(main())
