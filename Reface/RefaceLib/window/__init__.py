"""What the module Reface does in 3D Slicer, without its widgets."""
