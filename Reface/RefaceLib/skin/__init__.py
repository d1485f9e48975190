"""The surface of a head, and pictures of it."""
