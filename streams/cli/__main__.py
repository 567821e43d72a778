"""`python -m streams.cli`: the command `npo` where no script is installed."""

import sys

from streams.cli import main

sys.exit(main())
