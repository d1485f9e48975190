"""The windows as files: every widget that the code names is there, and every control says what it is for."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from uifiles import NO_CONTROLS, REPOSITORY, read_ui, ui_path

MODULES = [module for module in ("Reface", "ReidentRisk") if ui_path(module).is_file()]
CONTAINERS = ("ctkCollapsibleButton", "QGroupBox", "QTabWidget")
# What may show a parameter of a kind, as slicer.parameterNodeWrapper connects it.
CONNECTED = {
    "vtkMRML": {"qMRMLNodeComboBox"},
    "int": {"QSpinBox", "QSlider"},
    "bool": {"QCheckBox", "QPushButton"},
    "str": {"QLineEdit", "QTextEdit"},
    "enum": {"QComboBox"},
}


def source_of(module: str) -> str:
    return (REPOSITORY / module / f"{module}.py").read_text(encoding="utf-8")


def parameters(module: str) -> dict[str, str]:
    """The annotations of the module's parameter node by name."""
    tree = ast.parse(source_of(module))
    (node,) = [each for each in tree.body if isinstance(each, ast.ClassDef) and each.name.endswith("ParameterNode")]
    return {each.target.id: ast.unparse(each.annotation) for each in node.body if isinstance(each, ast.AnnAssign)}


@pytest.fixture(params=MODULES)
def module(request) -> str:
    return request.param


def test_every_widget_that_the_code_names_is_in_the_window(module):
    named = set(re.findall(r"\bui\.(\w+)", source_of(module)))
    assert len(named) > 10
    assert sorted(named - set(read_ui(ui_path(module)))) == []


def test_every_parameter_name_in_the_window_is_a_parameter_that_the_widget_can_show(module):
    known = parameters(module)
    shown = {widget.name: widget for widget in read_ui(ui_path(module)).values() if widget.parameter}
    assert len(shown) >= 5
    for widget in shown.values():
        assert widget.parameter in known, widget
        annotation = known[widget.parameter]
        kind = next((kind for kind in CONNECTED if re.search(rf"\b{kind}", annotation)), "enum")
        assert widget.kind in CONNECTED[kind], (widget, annotation)


def test_no_parameter_is_shown_twice(module):
    names = [widget.parameter for widget in read_ui(ui_path(module)).values() if widget.parameter]
    assert len(set(names)) == len(names)


def test_every_control_has_a_tooltip(module):
    controls = [each for each in read_ui(ui_path(module)).values() if each.kind not in (*NO_CONTROLS, *CONTAINERS)]
    assert len(controls) > 10
    assert [each.name for each in controls if not each.tooltip] == []


def test_selectors_of_nodes_get_the_scene(module):
    text = ui_path(module).read_text(encoding="utf-8")
    selectors = [each.name for each in read_ui(ui_path(module)).values() if each.kind.startswith("qMRML")]
    connected = re.findall(r"<receiver>(\w+)</receiver>\s*<slot>setMRMLScene", re.sub(r"\s+", " ", text))
    assert sorted(set(selectors) - set(connected) - {module}) == []


def test_the_window_of_reface_has_the_controls_of_the_tutorial_in_its_order():
    text = Path(REPOSITORY / "docs" / "tutorial.md").read_text(encoding="utf-8")
    bold = re.findall(r"\*\*(.+?)\*\*", text)
    order = [_words(each) for each in _texts(ui_path("Reface"))]
    places = [order.index(_words(name)) for name in bold if _words(name) in order]
    assert len(places) >= 8
    assert places == sorted(places)


def _texts(path: Path) -> list[str]:
    """What stands on labels, buttons and sections, from top to bottom."""
    return re.findall(r'<property name="text">\s*<string>(.+?)</string>', path.read_text(encoding="utf-8"))


def _words(text: str) -> str:
    return text.rstrip(":. ").lower()
