"""Puts the libraries of this checkout on the path where they are not installed; to be imported first."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

for _library, _module in (("RefaceLib", "Reface"), ("ReidentRiskLib", "ReidentRisk")):
    if importlib.util.find_spec(_library) is None:
        sys.path.insert(0, str(Path(__file__).resolve().parents[2] / _module))
