"""A dialog for work that the window cannot do beside others: how far it is, and a button that stops it.

qt is imported inside functions, as in slicerui.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any


class WaitingDialog:
    """Stands before the window as long as the `with` lasts; what it shows may live while progress is told.

    :param title: what is being done
    """

    def __init__(self, title: str):
        import qt
        import slicer

        modal = qt.Qt.WindowModal  # or a press in the window could change what is worked on
        self._dialog: Any = slicer.util.createProgressDialog(
            windowTitle=title, labelText=title, windowModality=modal, autoClose=False, autoReset=False
        )

    def __enter__(self) -> WaitingDialog:
        return self

    def __exit__(self, _kind: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._dialog.close()
        self._dialog.deleteLater()

    def show(self, fraction: float, stage: str) -> None:
        """How far the work is: to be given to it as `progress`."""
        import slicer

        self._dialog.labelText = stage
        self._dialog.value = round(100 * fraction)
        slicer.app.processEvents()

    def cancelled(self) -> bool:
        """Whether the user wants to stop: to be given to the work as `cancelled`."""
        return bool(self._dialog.wasCanceled)
