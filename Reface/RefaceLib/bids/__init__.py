"""Whole data sets: what is in a BIDS data set, the work on a person of it, and the engine that does it for all."""
