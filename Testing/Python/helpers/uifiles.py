"""The `.ui` files of the modules: what is in them, and stand-ins for their widgets that remember what they are told."""

from __future__ import annotations

import types
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from helpers.checkout import REPOSITORY

NO_CONTROLS = ("QWidget", "QLabel", "QFrame", "QGroupBox", "ctkCollapsibleButton", "qMRMLWidget", "qSlicerWidget")


@dataclass(frozen=True)
class Widget:
    """A widget of a `.ui` file; `parameter` is its SlicerParameterName."""

    name: str
    kind: str
    tooltip: str
    parameter: str | None


def ui_path(module: str) -> Path:
    return REPOSITORY / module / "Resources" / "UI" / f"{module}.ui"


def read_ui(path: Path) -> dict[str, Widget]:
    """The widgets of a file by their names."""
    every = [
        Widget(each.get("name"), each.get("class"), _property(each, "toolTip"), _property(each, "SlicerParameterName"))
        for each in ET.parse(path).getroot().iter("widget")
    ]
    assert len({widget.name for widget in every}) == len(every)
    return {widget.name: widget for widget in every}


def _property(element: ET.Element, name: str) -> str | None:
    return element.findtext(f"property[@name='{name}']/string")


class FakeWidget:
    """Takes whatever it is told: setX(value) becomes the value `x`; signals are emitted by the test."""

    def __init__(self, widget: Widget) -> None:
        self.kind = widget.kind
        self._parameter = widget.parameter
        self._slots: dict[str, list[Callable]] = {}
        self.items: list[str] = []
        self.currentIndex = -1
        self.nodes: dict[Any, int] = {}
        self._node: Any = None
        self.layout = mock.MagicMock()

    width = 0

    def heightForWidth(self, _width: int) -> int:
        return 0

    def property(self, name: str) -> str | None:
        return self._parameter if name == "SlicerParameterName" else None

    def connect(self, signal: str, slot: Callable) -> None:
        self._slots.setdefault(signal, []).append(slot)

    def emit(self, signal: str, *arguments: Any) -> None:
        """Call what is connected with the signal, which must be something."""
        for slot in self._slots[signal]:
            slot(*arguments)

    def __getattr__(self, name: str) -> Callable:
        if not name.startswith("set"):
            raise AttributeError(f"{self.kind} is not told of {name} in this stand-in")
        return lambda *values: setattr(self, name[3].lower() + name[4:], values[0] if len(values) == 1 else values)

    # ---- combo boxes ----

    def clear(self) -> None:
        self.items, self.currentIndex = [], -1

    def addItems(self, names: list[str]) -> None:
        self.items += names
        self.currentIndex = 0 if self.items else -1

    def setCurrentIndex(self, index: int) -> None:
        """As the application: tells of a change."""
        if index != self.currentIndex:
            self.currentIndex = index
            for slot in self._slots.get("currentIndexChanged(int)", []):
                slot(index)

    def addAttribute(self, *arguments: str) -> None:
        self.attribute = arguments

    # ---- combo boxes of nodes, and those with a tick each ----

    def currentNode(self) -> Any:
        return self._node

    def setCurrentNode(self, node: Any) -> None:
        """As the application: tells of a change."""
        if node is not self._node:
            self._node = node
            for slot in self._slots.get("currentNodeChanged(vtkMRMLNode*)", []):
                slot(node)

    def checkedNodes(self) -> tuple:
        return tuple(node for node, ticked in self.nodes.items() if ticked)

    def uncheckedNodes(self) -> tuple:
        return tuple(node for node, ticked in self.nodes.items() if not ticked)

    def setCheckState(self, node: Any, state: Any) -> None:
        self.nodes[node] = state


class FakePath(FakeWidget):
    """A ctkPathLineEdit: currentPathChanged is silent for an erased text, and for one that names nothing."""

    def __init__(self, widget: Widget) -> None:
        super().__init__(widget)
        self.currentPath = ""
        self.inner = FakeWidget(Widget("", "QLineEdit", "", None))
        self.inner.connect("textChanged(QString)", lambda text: None)

    def type(self, text: str) -> None:
        """As the user does."""
        self.currentPath = text
        self.inner.emit("textChanged(QString)", text)
        if Path(text).is_dir() and text:
            for slot in self._slots.get("currentPathChanged(QString)", []):
                slot(text)


class FakeItem:
    """A cell of a FakeTable, which tells its table of changes, as QTableWidgetItem does."""

    def __init__(self) -> None:
        self.table: FakeTable | None = None
        self.values: dict[str, Any] = {"text": "", "flags": 0, "checkState": 0, "toolTip": ""}

    def __getattr__(self, name: str) -> Callable:
        if name in self.values:
            return lambda: self.values[name]
        changed = name[3].lower() + name[4:]
        if not name.startswith("set") or changed not in self.values:
            raise AttributeError(name)
        return lambda value: self._set(changed, value)

    def _set(self, name: str, value: Any) -> None:
        self.values[name] = value
        if self.table is not None:
            self.table.tell("itemChanged(QTableWidgetItem*)", self)


class FakeTable(FakeWidget):
    """A QTableWidget: cells, which emit signals, and the row that the user goes to."""

    def __init__(self, widget: Widget) -> None:
        super().__init__(widget)
        self.cells: dict[tuple[int, int], FakeItem] = {}
        self.rowCount = 0
        self.horizontalHeader = self.verticalHeader = lambda: mock.MagicMock()

    def setRowCount(self, count: int) -> None:
        self.rowCount = count
        self.cells = {place: item for place, item in self.cells.items() if place[0] < count}

    def item(self, row: int, column: int) -> FakeItem | None:
        return self.cells.get((row, column))

    def setItem(self, row: int, column: int, item: FakeItem) -> None:
        self.cells[row, column] = item
        item.table = self

    def tell(self, signal: str, *arguments: Any) -> None:
        for slot in self._slots.get(signal, []):
            slot(*arguments)

    def texts(self) -> list[list[str]]:
        columns = range(1 + max((column for _row, column in self.cells), default=-1))
        return [[self.cells[row, column].text() for column in columns] for row in range(self.rowCount)]

    def tick(self, row: int, state: int) -> None:
        """As the user does."""
        self.cells[row, 0].setCheckState(state)


def fake_ui(module: str) -> types.SimpleNamespace:
    """Stand-ins for all widgets of the module's file, as attributes: other names are errors."""
    kinds = {"QTableWidget": FakeTable, "ctkPathLineEdit": FakePath}
    found = read_ui(ui_path(module)).items()
    return types.SimpleNamespace(**{name: kinds.get(widget.kind, FakeWidget)(widget) for name, widget in found})
