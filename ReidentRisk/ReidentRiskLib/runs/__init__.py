"""Whole comparisons of many heads, and the files that they read and write."""
