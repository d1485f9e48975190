"""Where brain, head and face are: the canonical frame, the head parser, the face mask."""
