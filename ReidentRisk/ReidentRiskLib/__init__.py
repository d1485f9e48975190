"""How recognisable a face in a head scan is; importable without 3D Slicer, as RefaceLib is, which it builds on."""
