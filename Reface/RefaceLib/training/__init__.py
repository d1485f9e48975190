"""Training of the networks: never imported by the window or the command `reface image`."""
