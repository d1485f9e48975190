"""The command line `reident-risk`."""
