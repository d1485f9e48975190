"""Puts Testing/Study on the path, for the tests of what is in it."""

from __future__ import annotations

import sys
from pathlib import Path

STUDY = Path(__file__).resolve().parents[1] / "Study"
if str(STUDY) not in sys.path:
    sys.path.insert(0, str(STUDY))
