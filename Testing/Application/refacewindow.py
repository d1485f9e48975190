"""What the parts of the tour through the module Reface have in common."""

from __future__ import annotations

import driving
import numpy as np
import slicer
from states import Tour, run_to_end, scalar_volumes
from watching import faces_in


class RefaceWindow(driving.ModuleWindow):
    """The window of Reface, and what is asserted of each run in it."""

    module = "Reface"

    def __init__(self, tour: Tour):
        self.tour, self.check = tour, tour.check

    def press(self, **choices) -> None:
        """Set choices and press Apply."""
        for name, value in choices.items():
            setattr(self.parameters, name, value)
        driving.wait(0.2)
        self.check(f"Apply can be pressed ({self.ui.applyButton.toolTip})", self.ui.applyButton.enabled)
        self.ui.applyButton.click()

    def run(self, **choices):
        """Press Apply, and wait for the result; the volume node, which is none of those before."""
        former = set(scalar_volumes())
        self.press(**choices)
        run_to_end(self.widget.panel)
        result = self.parameters.resultVolume
        self.check(f"there is a new result ({self.ui.statusLabel.text})", result is not None and result not in former)
        return result

    def mode(self, name: str):
        from RefaceLib.window.parameters import Mode

        return Mode[name]

    def check_pair(self, before, after) -> None:
        """The 3D views show the faces of these volumes, the whole head of each, from one place."""
        names = [[face.GetName() for face in faces_in(view)] for view in ("1", "2")]
        expected = [[f"{before.GetName()} face"], [f"{after.GetName()} face"]]
        self.check(f"the 3D views show {names}", names == expected)
        logic = slicer.modules.cameras.logic()
        views = [slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLViewNode") for name in ("1", "2")]
        cameras = [logic.GetViewActiveCameraNode(view) for view in views]
        alike = all(
            np.allclose(getattr(cameras[0], get)(), getattr(cameras[1], get)())
            for get in ("GetPosition", "GetFocalPoint", "GetViewUp", "GetViewAngle")
        )
        self.check("both 3D views have one camera", alike)
        self.check("no box is drawn about the heads", not any(view.GetBoxVisible() for view in views))
