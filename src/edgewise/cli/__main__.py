"""``python -m edgewise.cli``."""

import sys

from edgewise.cli.entry import main

sys.exit(main())
