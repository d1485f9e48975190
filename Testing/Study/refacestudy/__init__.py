"""Measures ways to hide a face on a folder of real heads.

Three commands, run with Testing/Study on PYTHONPATH where RefaceLib and ReidentRiskLib are installed:
``python -m refacestudy`` (the study), ``refacestudy.check_heads`` (the promises of Reface) and ``refacestudy.tissue``.
"""
