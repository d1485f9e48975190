"""`python -m ReidentRiskLib` is the command `reident-risk`."""

import sys

from ReidentRiskLib.commandline.cli import main

sys.exit(main())
