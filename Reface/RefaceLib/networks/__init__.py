"""The layers of the networks, and the device and precision that they run with."""
