"""The table of a person's volumes: a QTableWidget that shows rows of RefaceLib.window.person, and tells of ticks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from RefaceLib.window.person import Row


class PersonTable:
    """Shows Rows in a QTableWidget of five columns: volume with its tick, contrast, work, state, promise.

    :param table: the QTableWidget
    :param onTicked: called with the ticked volumes but the first, when the user has changed a tick
    :param onChosen: called with the volume of the row that the user goes to
    """

    def __init__(self, table: Any, onTicked: Callable[[list[Any]], None], onChosen: Callable[[Any], None]):
        import qt

        self._table, self._onTicked, self._onChosen = table, onTicked, onChosen
        self._rows: list[Row] = []
        self._showing = False
        table.verticalHeader().setVisible(False)
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        table.connect("itemChanged(QTableWidgetItem*)", self._itemChanged)
        table.connect("currentCellChanged(int,int,int,int)", self._cellChanged)

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows; the current row stays, as long as it is there."""
        if self._rows == list(rows):
            return
        self._showing = True  # each change of an item emits a signal
        try:
            self._rows = list(rows)
            self._table.setRowCount(len(rows))
            for index, row in enumerate(rows):
                texts = (row.name, row.contrast, row.work, row.state, row.promise)
                for column, text in enumerate(texts):
                    item = self._item(index, column)
                    item.setText(text)
                    item.setToolTip(row.tip)
                self._tick(self._item(index, 0), row)
        finally:
            self._showing = False

    def _item(self, row: int, column: int) -> Any:
        import qt

        item = self._table.item(row, column)
        if item is None:
            item = qt.QTableWidgetItem()
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
            self._table.setItem(row, column, item)
        return item

    def _tick(self, item: Any, row: Row) -> None:
        import qt

        flags = qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable
        item.setFlags(flags if row.first else flags | qt.Qt.ItemIsUserCheckable)  # the input is always in the run
        item.setCheckState(qt.Qt.Checked if row.ticked else qt.Qt.Unchecked)

    def _itemChanged(self, _item: Any) -> None:
        import qt

        if not self._showing:
            ticked = [self._table.item(index, 0).checkState() == qt.Qt.Checked for index in range(len(self._rows))]
            pairs = zip(self._rows, ticked, strict=True)
            self._onTicked([row.volume for row, chosen in pairs if chosen and not row.first])

    def _cellChanged(self, row: int, _column: int, _formerRow: int, _formerColumn: int) -> None:
        if not self._showing and 0 <= row < len(self._rows):
            self._onChosen(self._rows[row].volume)
