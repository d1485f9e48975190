"""The command line `reface`."""
