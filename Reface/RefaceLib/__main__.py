"""`python -m RefaceLib` is the command `reface`."""

import sys

from RefaceLib.commandline.cli import main

sys.exit(main())
