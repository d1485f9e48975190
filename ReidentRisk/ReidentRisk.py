"""The Slicer module ReidentRisk: wiring only. What it does lives in ReidentRiskLib; see compare and mrml there."""

import importlib.util
import logging
from dataclasses import dataclass
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

from RefaceLib.mrml import active_volume, check_input, volume_from_node
from ReidentRiskLib import mrml, risk

TORCH_REQUIREMENT = ">=2.4"


class ReidentRisk(ScriptedLoadableModule):
    """What the application shows about the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("ReidentRisk")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Utilities")]
        parent.dependencies = ["Reface"]
        parent.contributors = ["The Reface developers"]
        parent.helpText = _(
            "Measures how recognisable the face in a head scan is: draws the faces of two scans from many sides, "
            "compares them with a face-recognition network, and says how many strangers look as similar. "
            "Choose the original and the defaced or refaced volume and press Apply. Nothing is uploaded."
        )
        parent.acknowledgementText = _(
            "Faces are compared by ArcFace (InsightFace, for non-commercial research) or SFace (Apache-2.0), and found "
            "by YuNet. The networks are downloaded at first use and can be removed again."
        )


class ReidentRiskWidget(ScriptedLoadableModuleWidget):
    """Two volumes, a model, a set of views, a button and the verdict."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.logic = None

    def setup(self):
        import ctk
        import qt

        from ReidentRiskLib.models import default_model
        from ReidentRiskLib.views import VIEW_SETS

        ScriptedLoadableModuleWidget.setup(self)
        self.logic = ReidentRiskLogic()

        section = ctk.ctkCollapsibleButton()
        section.text = _("Compare faces")
        self.layout.addWidget(section)
        form = qt.QFormLayout(section)

        self.referenceSelector = self._volumeSelector(_("The original head scan. It is not changed."))
        form.addRow(_("Original:"), self.referenceSelector)
        self.probeSelector = self._volumeSelector(_("The defaced or refaced scan, or that of another person."))
        form.addRow(_("Compare with:"), self.probeSelector)

        self.modelSelector = qt.QComboBox()
        models = {"arcface": _("ArcFace (non-commercial)"), "sface": _("SFace (free)")}
        for name, title in models.items():
            self.modelSelector.addItem(title, name)
        self.modelSelector.setCurrentIndex(list(models).index(default_model()))
        self.modelSelector.toolTip = _("The network that compares the faces. It is downloaded at first use.")
        form.addRow(_("Model:"), self.modelSelector)

        self.viewsSelector = qt.QComboBox()
        for name, views in VIEW_SETS.items():
            self.viewsSelector.addItem(_("{name} ({count} views)").format(name=name, count=len(views)), name)
        self.viewsSelector.setCurrentIndex(list(VIEW_SETS).index("standard"))
        self.viewsSelector.toolTip = _("From how many sides and in how many lights the faces are drawn.")
        form.addRow(_("Views:"), self.viewsSelector)

        self.applyButton = qt.QPushButton(_("Apply"))
        form.addRow(self.applyButton)
        self.statusLabel = qt.QLabel()
        self.statusLabel.wordWrap = True
        form.addRow(self.statusLabel)
        self.layout.addStretch(1)

        for selector in (self.referenceSelector, self.probeSelector):
            selector.connect("currentNodeChanged(vtkMRMLNode*)", self._checkCanApply)
        self.applyButton.connect("clicked(bool)", self.onApplyButton)
        self._checkCanApply()

    def _volumeSelector(self, toolTip):
        selector = slicer.qMRMLNodeComboBox()
        selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        selector.showChildNodeTypes = False
        selector.addEnabled = False
        selector.removeEnabled = False
        selector.noneEnabled = True
        selector.toolTip = toolTip
        selector.setMRMLScene(slicer.mrmlScene)
        return selector

    def enter(self):
        """Offer the volume that the user is looking at, unless one is chosen."""
        if self.referenceSelector.currentNode() is None:
            volume = active_volume(slicer.mrmlScene, slicer.app.applicationLogic())
            self.referenceSelector.setCurrentNode(volume)

    def onApplyButton(self, _checked=False):
        with slicer.util.tryWithErrorDisplay(_("The faces were not compared."), waitCursor=True):
            self.applyButton.enabled = False
            try:
                model = self.modelSelector.currentData
                accepted = self._acceptLicence(model)
                self._ensureDependencies()
                result = self.logic.compare(
                    self.referenceSelector.currentNode(),
                    [self.probeSelector.currentNode()],
                    model=model,
                    views=self.viewsSelector.currentData,
                    acceptLicence=accepted,
                    progress=self._showProgress,
                )
            except Exception:
                self.statusLabel.text = ""
                raise
            finally:
                self._checkCanApply()
            if result.charts:
                slicer.modules.plots.logic().ShowChartInLayout(result.charts[0])
            self.statusLabel.text = "\n".join(self._sentences(result.report))

    def _sentences(self, report):
        names = {"forced": _("forced alignment"), "gated": _("detector-gated")}
        lines = []
        for probe in report["probes"]:
            lines.append(_("'{name}' is {verdict}.").format(name=probe["name"], verdict=probe["verdict"]))
            lines += [f"{names[attacker]}: {found['sentence']}" for attacker, found in probe["attackers"].items()]
        return [*lines, *report["warnings"]]

    def _acceptLicence(self, model):
        """Ask for consent where the model's licence needs it and it was not given before; whether it is given now."""
        from ReidentRiskLib.models import find_model, is_accepted

        if is_accepted(model):
            return False
        question = _("{text}\n\nDo you accept this licence?").format(text=find_model(model).licence_text)
        if not slicer.util.confirmYesNoDisplay(question):
            raise RuntimeError(_("The licence was not accepted: choose the model SFace, which is free."))
        return True

    def _checkCanApply(self, _node=None):
        reference, probe = self.referenceSelector.currentNode(), self.probeSelector.currentNode()
        ready = None not in (reference, probe) and reference is not probe
        self.applyButton.enabled = ready
        self.applyButton.toolTip = _("Compare the faces.") if ready else _("Choose two different volumes.")

    def _showProgress(self, fraction, stage):
        self.statusLabel.text = _("{percent} %: {stage}").format(percent=round(100 * fraction), stage=stage)
        # Painted at once, without handling other events: nobody may close the scene in the middle of a run.
        self.statusLabel.repaint()

    def _ensureDependencies(self):
        """Install what the networks need, after asking; only ever called because the user has pressed the button."""
        if importlib.util.find_spec("torch") is None:
            try:
                import PyTorchUtils
            except ModuleNotFoundError as error:
                message = _("ReidentRisk needs the PyTorch extension: install it in the Extensions Manager.")
                raise RuntimeError(message) from error
            logic = PyTorchUtils.PyTorchUtilsLogic()
            if logic.installTorch(askConfirmation=True, torchVersionRequirement=TORCH_REQUIREMENT) is None:
                raise RuntimeError(
                    _("ReidentRisk needs PyTorch, which was not installed: press Apply again to install it.")
                )
        from slicer.packaging import load_requirements, pip_ensure

        pip_ensure(load_requirements(self.resourcePath("requirements_ReidentRisk.txt")), requester="ReidentRisk")


@dataclass(frozen=True, eq=False)
class ReidentRiskResult:
    """What a comparison adds to the scene, all of it in the subject-hierarchy folder `folder`, and its report.

    `surfaces` and `pictures` are of the reference and the probes, in this order; `charts` has one for each attacker
    whose scores are calibrated.
    """

    folder: int
    surfaces: list
    landmarks: list
    pictures: list
    table: Any
    charts: list
    report: dict


class ReidentRiskLogic(ScriptedLoadableModuleLogic):
    """Compares the faces of volume nodes; needs no window, and no more of the application than their scene."""

    def __init__(self, compareFaces=None, loadTools=None):
        """:param compareFaces: used in place of ReidentRiskLib.compare.compare (for tests)
        :param loadTools: used in place of ReidentRiskLib.compare.load_tools (for tests)
        """
        ScriptedLoadableModuleLogic.__init__(self)
        self._compareFaces = compareFaces
        self._loadTools = loadTools

    def compare(
        self,
        referenceVolume,
        probeVolumes,
        model=None,
        views="standard",
        ownLandmarks=False,
        landmarks=None,
        acceptLicence=False,
        device="auto",
        progress=None,
        cancelled=None,
        tools=None,
    ):
        """Compare the faces of volumes with that of a reference; nodes are added only when everything has gone well.

        :param referenceVolume: vtkMRMLScalarVolumeNode in a scene; never changed
        :param probeVolumes: list of vtkMRMLScalarVolumeNode; never changed
        :param model: "arcface", "sface" or the path of an ONNX file; None takes the best whose licence is accepted
        :param views: one of ReidentRiskLib.views.VIEW_SETS
        :param ownLandmarks: look for the landmarks of each probe in the probe itself
        :param landmarks: point list node with the five landmarks of the reference, in place of those that are found
        :param acceptLicence: the user accepts the licence of the model
        :param device: "auto", "cpu", "cuda" or "mps"
        :param progress: called with a fraction 0..1 and the name of the stage
        :param cancelled: called now and then; the run stops with CancelledError once it returns True
        :param tools: from ReidentRiskLib.compare.load_tools(), to load the networks once for several comparisons
        :return: ReidentRiskResult
        :raises RefaceLib.errors.RefaceError: with one sentence for the user
        """
        from RefaceLib.errors import InputError
        from ReidentRiskLib import compare
        from ReidentRiskLib.landmarks import FIVE

        for node in (referenceVolume, *probeVolumes):
            check_input(node)
        nodes = [referenceVolume, *probeVolumes]
        if len({node.GetID() for node in nodes}) < len(nodes):
            raise InputError("A volume is given twice: choose different volumes.")
        names = self._names(nodes)
        scene = referenceVolume.GetScene()
        points = None if landmarks is None else mrml.points_from_node(landmarks, FIVE, referenceVolume)
        if tools is None:
            load = self._loadTools or compare.load_tools
            tools = load(model, device, accept_licence=acceptLicence, progress=progress, cancelled=cancelled)
        comparison = (self._compareFaces or compare.compare)(
            (names[0], volume_from_node(referenceVolume)),
            [(name, volume_from_node(node)) for name, node in zip(names[1:], probeVolumes, strict=True)],
            tools,
            views,
            own_landmarks=ownLandmarks,
            points=points,
            progress=progress,
            cancelled=cancelled,
        )
        report = compare.build_report(comparison)
        folder = mrml.add_folder(scene, _("Faces of {name}").format(name=names[0]))
        try:
            result = self._show(scene, folder, nodes, comparison, report)
        except Exception:
            mrml.remove_folder(scene, folder)
            raise
        logging.info("ReidentRisk: %s compared in %.1f s", ", ".join(names), comparison.seconds.get("total", 0.0))
        return result

    def _names(self, nodes):
        """The names of nodes, with their ids where one name is that of several."""
        names = [node.GetName() for node in nodes]
        return [
            name if names.count(name) == 1 else f"{name} ({node.GetID()})"
            for name, node in zip(names, nodes, strict=True)
        ]

    def _show(self, scene, folder, nodes, comparison, report):
        from ReidentRiskLib.compare import score_columns
        from ReidentRiskLib.landmarks import FIVE

        faces = [comparison.reference, *(result.face for result in comparison.results)]
        surfaces, landmarks, pictures = [], [], []
        for node, face in zip(nodes, faces, strict=True):
            if face.found is not None:
                head = face.found.head
                name = _("{name} face").format(name=face.name)
                surfaces.append(mrml.add_surface(scene, folder, head.surface, name, node))
                name = _("{name} landmarks").format(name=face.name)
                landmarks.append(mrml.add_points(scene, folder, head.pose.points, FIVE, name, node))
            if face.embedding.pictures is not None:
                name = _("{name} renderings").format(name=face.name)
                pictures.append(mrml.add_pictures(scene, folder, face.embedding.pictures, name))
        table = mrml.add_table(scene, folder, _("Similarities"), score_columns(comparison))
        mrml.set_provenance(table, report)
        charts = []
        for attacker, calibration in comparison.calibrations.items():
            if calibration is not None:
                scores = {
                    result.face.name: result.assessments[attacker].score.mean_embedding for result in comparison.results
                }
                name = _("Similarities among strangers ({attacker})").format(attacker=attacker)
                charts.append(mrml.add_histogram(scene, folder, name, calibration, scores))
        return ReidentRiskResult(folder, surfaces, landmarks, pictures, table, charts, report)

    def showIdentification(self, scene, results, name=None):
        """Add the curves of an identification (ReidentRiskLib.identify, by attacker) to the scene.

        :return: subject-hierarchy folder, chart node of the match curves, chart node of the ROC curves
        """
        folder = mrml.add_folder(scene, name or _("Identification"))
        matches = mrml.add_cmc(scene, folder, _("Cumulative match curve"), results)
        return folder, matches, mrml.add_roc(scene, folder, _("ROC curve"), results)


class ReidentRiskTest(ScriptedLoadableModuleTest):
    """Runs in the application (Reload and Test, or ctest); the tests of the parts are in Testing/Python."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_calibrationIsRead(self):
        """What is shipped can be read."""
        self.delayDisplay("The calibration")
        for calibration in risk.read_calibrations():
            self.assertIn(calibration.attacker, risk.ATTACKERS)

    def test_nodesOfAHistogram(self):
        """A chart of a calibration, made of drawn numbers."""
        import numpy as np

        self.delayDisplay("A chart")
        random = np.random.default_rng(0)
        parts = [risk.distribution(random.normal(middle, 0.05, 1000)) for middle in (0.3, 0.9)]
        calibration = risk.Calibration("none", "", "standard", "forced", *parts, {})
        folder = mrml.add_folder(slicer.mrmlScene, "Test")
        chart = mrml.add_histogram(slicer.mrmlScene, folder, "Test", calibration, {"a head": 0.5})
        self.assertEqual(chart.GetNumberOfPlotSeriesNodes(), 3)
        mrml.remove_folder(slicer.mrmlScene, folder)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode"), 0)
