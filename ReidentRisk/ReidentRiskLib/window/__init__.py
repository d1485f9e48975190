"""What the module ReidentRisk does in 3D Slicer, without its widgets."""
