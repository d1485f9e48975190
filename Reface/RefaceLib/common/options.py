"""The values that options may take. It imports nothing, so that `--help` and the windows need not load the work."""

MODES = ("auto", "reface", "deface", "recover")
FOUND = {"reface": "whole head found", "recover": "defaced head found"}  # what was found, by the mode for it
DEVICES = ("auto", "cpu", "cuda", "mps")
PROGRESS_MODES = ("auto", "json", "none")
DICOM_DATES = ("remove", "shift", "keep")  # what becomes of the dates in DICOM headers
MAX_SEED = 2**32 - 1
