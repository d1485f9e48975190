"""The panel of results: words, the choice of a face and of a plot, and the views that follow them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from RefaceLib.window import slicerui
from ReidentRiskLib.window import faceviews, mrml, outdated, summary
from ReidentRiskLib.window.guesspanel import GuessPanel
from ReidentRiskLib.window.results import RiskResultNodes


class ResultPanel:
    """Shows one result at a time: its summary in the panel; its faces, plot, table and landmarks in the views.

    :param ui: the widgets of ReidentRisk.ui
    :param isEntered: whether the user is in this module; while in another one, the views are left alone
    """

    def __init__(self, ui: Any, isEntered: Callable[[], bool]):
        self.ui = ui
        self._isEntered = isEntered
        self._updating = False
        self.result: RiskResultNodes | None = None
        self._html: str | None = None
        self._told: tuple[Sequence[str], str] = ((), "")
        self._watch = outdated.ChangeWatch(lambda: self._tell())
        ui.faceSelector.connect("currentIndexChanged(int)", self._onFace)
        ui.chartSelector.connect("currentIndexChanged(int)", self._onChart)
        ui.layoutButton.connect("clicked(bool)", self.onLayoutButton)
        ui.explainButton.connect("clicked(bool)", self.onExplainButton)
        self._guess = GuessPanel(ui, self.showPicture)

    def show(self, result: RiskResultNodes | None, notes: Sequence[str] = (), failure: str = "") -> None:
        """Show this result, with `notes` above its words, or none; then `failure` says why there is none."""
        shown, self.result, self._told = self.result, result, (notes, failure)
        self._tell()
        if (shown and shown.table) is (result and result.table):
            return
        self._watch.watch(result)
        self._updating = True
        try:
            self._fill(result)
            self._guess.show(result)
        finally:
            self._updating = False
        follow = shown is not None or self._layoutIsOurs()  # else the views are the user's
        if result is not None and follow and self._isEntered():
            self.showInViews()
        if result is None and shown is not None:
            self._clearViews()
        self._replacePicture(shown, result)

    def close(self) -> None:
        """The window is being closed: nothing is watched any longer."""
        self._watch.watch(None)

    def _tell(self) -> None:
        """Write the words of the result, and mark what is of former voxels."""
        result, (notes, failure) = self.result, self._told
        if result is None:
            self._write(summary.failed(failure) if failure else "")
            return
        changes = outdated.changes(result)
        outdated.mark(result, changes)
        self._write(summary.summary(result, notes, changes))

    def _write(self, html: str) -> None:
        if html != self._html:  # else the text would jump back to its beginning
            self._html = html
            self.ui.summaryBrowser.setHtml(html)
            self.ui.resultsCollapsibleButton.collapsed = not html

    def _fill(self, result: RiskResultNodes | None) -> None:
        for selector, names in (
            (self.ui.faceSelector, result.names[1:] if result else []),
            (self.ui.chartSelector, [chart.GetName() for chart in result.charts] if result else []),
        ):
            selector.clear()
            selector.addItems(names)
        self.ui.layoutButton.setEnabled(result is not None)
        self.ui.explainButton.setEnabled(result is not None and result.explanation is not None)

    def _onFace(self, index: int) -> None:
        if self.result is not None and not self._updating and index >= 0:
            self._showFaces(self.result, index + 1)

    def _onChart(self, index: int) -> None:
        if self.result is not None and not self._updating and 0 <= index < len(self.result.charts):
            self._showChart(self.result, index)

    def onLayoutButton(self, _checked: bool = False) -> None:
        """Show the faces side by side, the plot and the table of the result."""
        if self.result is not None:
            self.setLayout()
            self.showInViews()

    def setLayout(self) -> None:
        """Have two 3D views, a plot and a table on the screen, and no picture of a result in a view beside them."""
        import slicer

        manager = slicer.app.layoutManager()
        if manager is None:  # without a main window
            return
        manager.setLayout(faceviews.add_layout(manager.layoutLogic().GetLayoutNode()))
        if self._pictureIsOf(self.result):  # or it would come to the front with the next result
            faceviews.hide_picture(slicer.mrmlScene, self.result.volumes[0] if self.result else None)
            slicerui.once_idle(manager.resetSliceViews)

    def onExplainButton(self, _checked: bool = False) -> None:
        if self.result is not None and self.result.explanation is not None:
            self.showPicture(self.result.explanation)

    def showPicture(self, picture: Any) -> None:
        """Show a picture for a class alone, as large as the window."""
        import slicer

        manager = slicer.app.layoutManager()
        if manager is None:
            return
        manager.setLayout(faceviews.PICTURE_LAYOUT)
        if not faceviews.show_picture(picture.GetScene(), picture):
            return

        def fit() -> None:
            logic = manager.sliceWidget(faceviews.PICTURE_VIEW).sliceLogic()
            logic.FitSliceToAll()
            logic.SetSliceOffset(mrml.PICTURE_HEIGHT)  # the picture is the only slice

        slicerui.once_idle(fit)  # only then the view has its size

    def _replacePicture(self, former: RiskResultNodes | None, result: RiskResultNodes | None) -> None:
        """No picture that explains the `former` result stays beside this one's words."""
        import slicer

        if not self._pictureIsOf(former):
            return
        if result is not None and result.explanation is not None and self._isEntered():
            self.showPicture(result.explanation)
        else:
            faceviews.hide_picture(slicer.mrmlScene, None)

    def _pictureIsOf(self, result: RiskResultNodes | None) -> bool:
        import slicer

        picture = faceviews.shown_picture(slicer.mrmlScene)
        return result is not None and picture is not None and picture in (result.explanation, result.exercise)

    def _clearViews(self) -> None:
        """Nothing of a result stays in the views: no face, no plot, no table."""
        import slicer

        faceviews.hide_faces(slicer.mrmlScene)
        faceviews.show_chart(slicer.app.applicationLogic(), None)
        faceviews.show_table(slicer.app.applicationLogic(), None)

    def _layoutIsOurs(self) -> bool:
        import slicer

        manager = slicer.app.layoutManager()
        return manager is not None and manager.layout == faceviews.LAYOUT_ID

    def showInViews(self) -> None:
        """Whatever views there are show this result, and no other one."""
        import slicer

        if self.result is None:
            return
        self._showFaces(self.result, self.ui.faceSelector.currentIndex + 1)
        self._showChart(self.result, self.ui.chartSelector.currentIndex)
        faceviews.show_table(slicer.app.applicationLogic(), self.result.table)

    def _showFaces(self, result: RiskResultNodes, probe: int) -> None:
        import slicer

        faceviews.show_pair(result, probe)
        views = [faceviews.view_node(result.table.GetScene(), tag) for tag in faceviews.VIEWS]
        logic = slicer.modules.cameras.logic()
        cameras = [logic.GetViewActiveCameraNode(view) if view is not None else None for view in views]
        faceviews.look_at_faces(result, probe, cameras)

    def _showChart(self, result: RiskResultNodes, index: int) -> None:
        import slicer

        charts = result.charts
        faceviews.show_chart(slicer.app.applicationLogic(), charts[index] if 0 <= index < len(charts) else None)
