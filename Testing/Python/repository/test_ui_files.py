"""The windows as files: what the code names is there, what is there belongs to a parameter, and every control explains
itself. Nothing of Qt is needed."""

from __future__ import annotations

import ast
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from helpers.checkout import REPOSITORY
from helpers.uifiles import NO_CONTROLS, read_ui, ui_path

SUFFIXES = {  # the end of a widget's name tells its class
    "Button": ("QPushButton", "QToolButton", "ctkCollapsibleButton"),
    "CheckBox": ("QCheckBox",),
    "Selector": ("QComboBox", "qMRMLNodeComboBox", "qMRMLCheckableNodeComboBox"),
    "Label": ("QLabel",),
    "Frame": ("QFrame",),
    "Bar": ("QProgressBar",),
    "Browser": ("QTextBrowser",),
    "Table": ("QTableWidget",),
    "ListWidget": ("QListWidget",),
    "Slider": ("QSlider", "ctkSliderWidget"),
    "SpinBox": ("QSpinBox", "QDoubleSpinBox"),
    "PathLineEdit": ("ctkPathLineEdit",),
    "LineEdit": ("QLineEdit",),
    "Edit": ("QTextEdit", "QPlainTextEdit"),
}
CONNECTORS = {"bool": ("QCheckBox",), "int": ("QSpinBox", "QSlider"), "float": ("QDoubleSpinBox", "ctkSliderWidget")}


class Window:
    """The `.ui` file of a module, and what its code says of it."""

    def __init__(self, name: str) -> None:
        self.path = ui_path(name)
        self.widgets = read_ui(self.path)
        dialogs = (path for path in self.path.parent.glob("*.ui") if path != self.path)
        self.every = {**self.widgets, **{name: each for path in dialogs for name, each in read_ui(path).items()}}
        self.root = ET.parse(self.path).getroot()
        self.tree = ast.parse((REPOSITORY / name / f"{name}.py").read_text(encoding="utf-8"))
        library = REPOSITORY / name / f"{name}Lib" / "window"
        self.trees = [self.tree, *(ast.parse(file.read_text(encoding="utf-8")) for file in library.glob("*.py"))]

    def named(self) -> set[str]:
        """The widgets that the code uses: X of self.ui.X and ui.X."""
        attributes = [node for tree in self.trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        return {
            node.attr
            for node in attributes
            if getattr(node.value, "attr", None) == "ui" or getattr(node.value, "id", None) == "ui"
        }

    def parameters(self) -> dict[str, str]:
        """The types of the parameters by their names."""
        (found,) = [
            node
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ClassDef) and node.name.endswith("ParameterNode")
        ]
        fields = [node for node in found.body if isinstance(node, ast.AnnAssign)]
        return {node.target.id: ast.unparse(node.annotation) for node in fields}

    def strings(self, widget: str, name: str) -> list[str]:
        return [
            each.text for each in self.root.findall(f".//widget[@name='{widget}']/property[@name='{name}']//string")
        ]


@pytest.fixture(params=["Reface", "ReidentRisk"], scope="module")
def window(request) -> Window:
    return Window(request.param)


def test_every_widget_that_the_code_names_is_there(window):
    used = window.named()
    assert len(used) > 10
    assert sorted(used - set(window.every)) == []


def test_the_name_of_a_widget_tells_its_class(window):
    wrong = []
    for name in window.named():
        kind = window.every[name].kind
        suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)
        if suffix is None or kind not in SUFFIXES[suffix]:
            wrong.append(f"{name}: {kind}")
    assert wrong == []


def test_every_bound_widget_fits_its_parameter(window):
    parameters, bound = window.parameters(), [each for each in window.widgets.values() if each.parameter]
    assert bound
    for widget in bound:
        assert widget.parameter in parameters, f"{widget.name} names no parameter"
        kind = parameters[widget.parameter].removeprefix("Annotated[").split(",")[0].removeprefix("slicer.")
        if kind.startswith("vtkMRML"):
            assert widget.kind == "qMRMLNodeComboBox", widget.name
            assert window.strings(widget.name, "nodeTypes") == [kind]
        else:  # what is none of these is an enumeration
            assert widget.kind in CONNECTORS.get(kind, ("QLineEdit",) if kind == "str" else ("QComboBox",)), widget.name
    names = [widget.parameter for widget in bound]
    assert len(set(names)) == len(names)


def test_every_control_has_a_tool_tip(window):
    controls = [widget for widget in window.widgets.values() if widget.kind not in NO_CONTROLS]
    assert [widget.name for widget in controls if not (widget.tooltip or "").strip()] == []


def test_every_selector_of_nodes_knows_the_scene(window):
    selectors = {name for name, widget in window.widgets.items() if widget.kind.startswith("qMRML")} - {
        window.root.find("widget").get("name")
    }
    wired = {
        each.findtext("receiver")
        for each in window.root.iter("connection")
        if each.findtext("signal") == "mrmlSceneChanged(vtkMRMLScene*)"
        and each.findtext("slot") == "setMRMLScene(vtkMRMLScene*)"
    }
    assert wired == selectors


def test_every_class_that_is_not_of_qt_is_declared(window):
    declared = {each.findtext("class"): each.findtext("header") for each in window.root.iter("customwidget")}
    used = {widget.kind for widget in window.widgets.values() if not widget.kind.startswith("Q")}
    assert used <= set(declared)
    assert all(header == f"{name}.h" for name, header in declared.items())


def test_no_widget_belongs_to_nothing(window):
    """A control that neither the code nor a parameter knows does nothing."""
    idle = [
        widget.name
        for widget in window.widgets.values()
        if widget.kind not in NO_CONTROLS and widget.parameter is None and widget.name not in window.named()
    ]
    assert idle == []


NARROW = ("QComboBox", "qMRMLNodeComboBox", "qMRMLCheckableNodeComboBox", "ctkPathLineEdit")


def test_long_names_do_not_widen_the_panel(window):
    """Three ticked names made it 640 pixels wide, the name of a DICOM series a third wider.

    What is Ignored is as wide as there is room, and elides its text. The combo box within must shrink as well, or its
    arrow is cut off.
    """
    named = [each for each in window.root.iter("widget") if each.get("class") in NARROW]
    wide = [each.get("name") for each in named if _horizontal(each) != "Ignored"]
    assert len(named) >= 7 and wide == []
    boxes = [each for each in named if each.get("class") != "ctkPathLineEdit"]
    fixed = "QComboBox::AdjustToMinimumContentsLengthWithIcon"
    grows = [each.get("name") for each in boxes if each.findtext("property[@name='sizeAdjustPolicy']/enum") != fixed]
    assert grows == []
    labels = [each for each in window.root.iter("widget") if each.get("class") == "QLabel"]
    empty = [each for each in labels if not each.findtext("property[@name='text']/string")]  # what the code fills
    assert all(each.findtext("property[@name='wordWrap']/bool") == "true" for each in empty) and len(empty) >= 3


def _horizontal(widget: ET.Element) -> str | None:
    policy = widget.find("property[@name='sizePolicy']/sizepolicy")
    return None if policy is None else policy.get("hsizetype")


def test_controls_are_reached_by_a_key(window):
    """A label's key goes to its buddy; no key is given twice, or is that of a menu."""
    root = window.root
    names = {each.get("name") for each in root.iter("widget")}
    texts = [each.findtext("property[@name='text']/string") or "" for each in root.iter("widget")]
    keys = [text[text.index("&") + 1].lower() for text in texts if "&" in text]
    assert len(keys) == len(set(keys)) >= 15
    assert not set(keys) & set("fevh")  # the menus File, Edit, View and Help of the application
    buddies = [each.text for each in root.findall(".//property[@name='buddy']/cstring")]
    assert len(buddies) == len(set(buddies)) >= 8 and set(buddies) <= names


def test_the_file_is_packaged(window):
    module = Path(window.path).parents[2]
    assert f"Resources/UI/{module.name}.ui" in (module / "CMakeLists.txt").read_text().replace(
        "${MODULE_NAME}", module.name
    )
