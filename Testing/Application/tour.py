"""A tour of both modules in the application, through the states that a user sees, with a picture of each.

    Slicer --testing --no-splash --additional-module-paths Reface ReidentRisk \
        --python-script Testing/Application/tour.py HEAD OUT [--gallery FOLDER]

--modules reface (or reidentrisk) takes one module alone, --only risk_empty,risk_inputs,... the states of these names.

OUT gets the numbered pictures and tour.txt, which lists what was asserted of each state. The application exits with 0
when all of it holds, and else with 1.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path

import slicer

sys.path.insert(0, str(Path(__file__).parent))

import tour_reface
import tour_reidentrisk
from states import Tour

PARTS = {"reface": tour_reface.go, "reidentrisk": tour_reidentrisk.go}
WINDOW = (1400, 950)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("head", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--gallery", type=Path)
    parser.add_argument("--only", type=lambda text: text.split(","), default=[])
    parser.add_argument("--modules", default=",".join(PARTS))
    options = parser.parse_args()
    code = 1
    try:
        slicer.util.mainWindow().resize(*WINDOW)
        tour = Tour(options.head.resolve(), options.out.resolve(), options.gallery, options.only)
        for name in options.modules.split(","):
            PARTS[name](tour)
        code = tour.finish()
    except BaseException:
        traceback.print_exc()
    slicer.util.exit(code)


main()
