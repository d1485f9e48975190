"""The Slicer module ReidentRisk: wiring only. What it does lives in ReidentRiskLib, see its folder window."""

import time
from pathlib import Path

import slicer
import vtk
from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode, vtkMRMLTableNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from RefaceLib.common.errors import InputError, RefaceError
from RefaceLib.common.progress import no_progress
from RefaceLib.common.steps import StepRunner
from RefaceLib.window import settings, slicerui
from RefaceLib.window.mrml import active_volume
from RefaceLib.window.parameters import Device
from ReidentRiskLib.attack import models
from ReidentRiskLib.window import job, originals, results
from ReidentRiskLib.window.licencepanel import LicencePanel
from ReidentRiskLib.window.parameters import Model, Views, nothing_chosen
from ReidentRiskLib.window.resultpanel import ResultPanel


class ReidentRisk(ScriptedLoadableModule):
    """What the application shows about the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("ReidentRisk")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Utilities")]
        parent.dependencies = ["Reface"]
        parent.contributors = ["The Reface developers"]
        parent.helpText = _(
            "Measures how recognisable the face in a head scan is: draws the faces of scans from many sides, compares "
            "them with a face-recognition network, and says how many strangers look as similar. Choose the original, "
            "tick the defaced or refaced volumes, and press Run. With a folder of other persons' heads, the volumes "
            "are also looked up among them. Nothing is uploaded."
        )
        parent.acknowledgementText = _(
            "The module measures what refacing is for: Molchanova N., Maréchal B., Thiran J.-P., Kober T., Huelnhagen "
            "T., Richiardi J.: Fast refacing of MR images with a generative neural network lowers re-identification "
            "risk and preserves volumetric consistency, arXiv:2305.16922. Faces are compared by ArcFace (InsightFace, "
            "for non-commercial research) or SFace (Apache-2.0), and found by YuNet. The networks are downloaded at "
            "first use and can be removed again."
        )


@parameterNodeWrapper
class ReidentRiskParameterNode:
    """What the window asks for, and what it shows; a saved scene keeps it.

    `reference` is the original, `probes` are compared with it; `gallery` is a folder, or empty. `result` is the table
    of scores of the comparison that is shown, `landmarks` are those of the original.
    """

    reference: vtkMRMLScalarVolumeNode
    probes: list[vtkMRMLScalarVolumeNode]
    model: Model = Model.SFACE
    views: Views = Views.STANDARD
    gallery: str = ""
    ownLandmarks: bool = False
    device: Device = Device.AUTO
    landmarks: vtkMRMLMarkupsFiducialNode
    result: vtkMRMLTableNode


class ReidentRiskWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The window: connects controls with the parameter node, a run with the progress bar, a result with the views."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._guiTag = None
        self._updating = False
        self._failure = ""  # why the last run has no result
        self.whenIdle = slicerui.WhenIdle()

    # ---- beginning and end ----

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/ReidentRisk.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        self.ui.parameterNodeSelector.addAttribute("vtkMRMLScriptedModuleNode", "ModuleName", "ReidentRisk")
        self.ui.resultSelector.addAttribute("vtkMRMLTableNode", results.RESULT)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = ReidentRiskLogic()
        bar, label, cancel = self.ui.progressBar, self.ui.statusLabel, self.ui.cancelButton
        self.panel = slicerui.RunPanel(bar, label, cancel, lambda _running: self._checkCanRun(), job.stage_title)
        self.results = ResultPanel(self.ui, lambda: self.parent.isEntered)
        self.licence = LicencePanel(self.ui, self._onParametersModified)
        self._connect()
        self.initializeParameterNode()

    def _connect(self):
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.showSettings)
        used = settings.Uses(ReidentRiskParameterNode, nothing_chosen, lambda found: found.result is not None)
        loaded = settings.LoadedSettings(
            "ReidentRisk", self.ui.parameterNodeSelector, used, self.whenIdle, self.showSettings
        )
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, loaded.startImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, loaded.endImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved)
        ui = self.ui
        ui.parameterNodeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onParameterNodeSelected)
        ui.probesSelector.connect("checkedNodesChanged()", self.onProbesChecked)
        slicerui.observe_path(ui.galleryPathLineEdit, self.onGalleryChanged)
        ui.runButton.connect("clicked(bool)", self.onRunButton)
        ui.recomputeButton.connect("clicked(bool)", self.onRecomputeButton)

    def cleanup(self):
        """The application or the module is being closed."""
        self.whenIdle.close()
        self.panel.stop()
        self.setParameterNode(None)
        self.results.close()
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()

    def onSceneStartClose(self, caller=None, event=None):
        """A run has nothing to come back to: it ends, and its temporary files go. What was told is of nodes that go."""
        self.panel.stop()
        self.ui.statusLabel.setText("")
        self.setParameterNode(None)

    def showSettings(self, caller=None, event=None):
        """The choices in the scene are others than before: it was closed, or one was read."""
        results.tell_apart(slicer.mrmlScene)
        if self.parent.isEntered:
            self.initializeParameterNode()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, _scene, _event, node):
        """No other node takes the place of one that was chosen, and a run on a volume that goes ends."""
        if self._parameterNode is not None:
            settings.let_go(self._parameterNode, node)
        if self.panel.turn(node) == 0:
            self.panel.stop()
            text = _("'{name}' was removed, so the run was stopped. Nothing was added to the scene.")
            self.ui.statusLabel.setText(text.format(name=node.GetName()))

    # ---- the parameter node ----

    def initializeParameterNode(self):
        """Take the chosen parameter node, or the scene's; offer the volume that the user is looking at."""
        chosen = self.ui.parameterNodeSelector.currentNode()
        node = ReidentRiskParameterNode(chosen) if chosen is not None else self.logic.getParameterNode()
        if node.reference is None:
            node.reference = originals.original_of(active_volume(slicer.mrmlScene, slicer.app.applicationLogic()))
        self.setParameterNode(node)

    def onParameterNodeSelected(self, node):
        if self._parameterNode is None or node is not self._parameterNode.parameterNode:
            self.setParameterNode(ReidentRiskParameterNode(node) if node is not None else None)

    def setParameterNode(self, node):
        """Connect the window with a parameter node, or with none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self.removeObservers(self._onParametersModified)
        self._parameterNode, self._failure = node, ""
        if node is not None:
            self.ui.parameterNodeSelector.setCurrentNode(node.parameterNode)
            self._guiTag = node.connectGui(self.ui)
            self.addObserver(node.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersModified)
        self._onParametersModified()

    def _onParametersModified(self, caller=None, event=None):
        if self._updating:
            return
        self._updating = True
        try:
            slicerui.tick_nodes(self.ui.probesSelector, self.logic.probes(self._parameterNode))
            self._showGallery()
            self.licence.show((self._parameterNode.model if self._parameterNode else Model.SFACE).value)
            self._showResult()
        finally:
            self._updating = False
        self._checkCanRun()

    def onProbesChecked(self):
        if self._parameterNode is not None and not self._updating and not slicer.mrmlScene.IsBatchProcessing():
            self._parameterNode.probes = list(self.ui.probesSelector.checkedNodes())

    def _showGallery(self):
        path = self._parameterNode.gallery if self._parameterNode else ""
        if self.ui.galleryPathLineEdit.currentPath != path:  # else the cursor would jump to its end
            self.ui.galleryPathLineEdit.currentPath = path
        problem = slicerui.path_problem(path)
        self.ui.galleryProblemLabel.setText(problem)
        self.ui.galleryProblemLabel.setVisible(bool(problem))

    def onGalleryChanged(self, path):
        if self._parameterNode is not None and not self._updating:
            self._parameterNode.gallery = path

    # ---- running ----

    def _checkCanRun(self):
        reason = self._reasonNotToRun()
        self.ui.runButton.setEnabled(not reason)
        self.ui.runButton.setToolTip(reason or _("Compare the faces."))
        landmarks = self._parameterNode is not None and self._parameterNode.landmarks is not None
        again = not reason or (self._resultToRecompute() is not None and not self.panel.running)
        self.ui.recomputeButton.setEnabled(landmarks and again)

    def _reasonNotToRun(self):
        """Why no run can start, in words for a tool tip; empty when one can."""
        node = self._parameterNode
        if node is None or node.reference is None:
            return _("Choose the original.")
        probes = self.logic.probes(node)
        if not probes:
            return _("Tick at least one volume to compare with the original.")
        if node.reference in probes:
            return _("The original is ticked as well: it cannot be compared with itself.")
        if slicerui.path_problem(node.gallery):
            return slicerui.path_problem(node.gallery)
        if not self.licence.accepted:
            return _("Accept the licence of the model, or choose SFace, which is free.")
        try:
            job.check(self.logic.request(node))
        except InputError as error:  # such as a volume without an image
            return str(error)
        return _("A run is under way.") if self.panel.running else ""

    def onRunButton(self, _checked=False):
        with slicer.util.tryWithErrorDisplay(_("The faces were not compared.")):
            self._run(self.logic.request(self._parameterNode, acceptLicence=self.licence.accepted), None)

    def onRecomputeButton(self, _checked=False):
        """Compare again what the result compared whose landmarks are chosen, and put the new result in its place."""
        node, result = self._parameterNode, self._resultToRecompute()
        with slicer.util.tryWithErrorDisplay(_("The faces were not compared.")):
            if result is None:
                request = self.logic.request(node, node.landmarks, acceptLicence=self.licence.accepted)
            else:
                request = self.logic.requestAgain(result, node)
            self._run(request, results.result_of_landmarks(node.landmarks))

    def _resultToRecompute(self):
        """That whose landmarks are chosen, else the one that is shown."""
        node = self._parameterNode
        return results.result_of_landmarks(node.landmarks if node else None) or self.results.result

    def _run(self, request, replaced):
        """Start a run; its result takes the place of the result `replaced`."""
        self.ui.statusLabel.setText("")  # what it says is of another run, as is why that has failed
        self._failure = ""
        self._showResult()
        parameterNode, started = self._parameterNode, time.monotonic()
        slicerui.ensure_dependencies("ReidentRisk", self.resourcePath("requirements_ReidentRisk.txt"))
        runner = self.logic.createRunner(
            request,
            onProgress=self.panel.show,
            onDone=lambda findings: self._onDone(request, findings, parameterNode, replaced, started),
            onFailed=lambda sentence: self._onFailed(sentence, parameterNode),
        )
        self.panel.run(runner, request.nodes)

    def _onFailed(self, sentence, parameterNode):
        self.ui.statusLabel.setText("" if sentence else _("Stopped. The scene is as it was."))
        if sentence:  # the verdict of another comparison must not be read as that of this one
            if parameterNode is self._parameterNode:
                self._failure = sentence
            parameterNode.result = None
            self._onParametersModified()
            slicerui.show_error(sentence)

    def _onDone(self, request, findings, parameterNode, replaced, started):
        """Show what was found, in pieces (see StepRunner): the window stood still for seconds."""
        self.panel.show(1.0, "show")
        self.ui.cancelButton.setEnabled(False)  # it is done in a second, and what it replaces is gone
        yield
        result = yield from self.logic.show(request, findings, replaced)
        yield
        ours = self._parameterNode is not None and self._parameterNode.parameterNode is parameterNode.parameterNode
        if ours and self.parent.isEntered:  # else another parameter node is shown, or another module
            self.results.setLayout()
            yield
        self._failure = ""
        parameterNode.result, parameterNode.landmarks = result.table, result.landmarks[0]
        self.ui.statusLabel.setText(_("Done in {seconds:.0f} s.").format(seconds=time.monotonic() - started))

    # ---- results ----

    def _showResult(self):
        """Show the result that is chosen, with its own landmarks."""
        node, before = self._parameterNode, self.results.result
        result = results.find_result(node.result if node else None)
        notes = []
        if result is not None and not results.asks_for_the_same(result, self.logic.request(node)):
            notes.append(_("The choices above are not those of this result: press Run to compare anew."))
        self.results.show(result, notes, self._failure)
        if result is not None and before is not None and before.table is not result.table:
            node.landmarks = result.landmarks[0]


class ReidentRiskLogic(ScriptedLoadableModuleLogic):
    """Compares the faces of volume nodes in child processes; needs no window."""

    def getParameterNode(self):
        return ReidentRiskParameterNode(super().getParameterNode())

    def probes(self, parameterNode):
        """The volumes to compare with the original; those that were deleted are left out."""
        return [volume for volume in (parameterNode.probes if parameterNode else []) if volume is not None]

    def request(self, parameterNode, landmarks=None, acceptLicence=False):
        """What a parameter node asks for, as ReidentRiskLib.window.job.Request; see there for `landmarks`."""
        return job.Request(
            parameterNode.reference,
            self.probes(parameterNode),
            model=parameterNode.model.value,
            views=parameterNode.views.value,
            own_landmarks=parameterNode.ownLandmarks,
            landmarks=landmarks,
            gallery=Path(parameterNode.gallery) if parameterNode.gallery else None,
            device=parameterNode.device.value,
            accept_licence=acceptLicence,
        )

    def requestAgain(self, result, parameterNode):
        """What was asked for when a result was made, with the landmarks that are chosen now."""
        model = result.choices.get("model")
        accepted = models.is_accepted(model) if model else False
        if model and models.find_model(model).needs_consent and not accepted:
            raise RefaceError(_("The licence of this result's model is no longer accepted: choose the model above."))
        device = parameterNode.device.value
        return results.request_again(result, parameterNode.landmarks, device=device, accept_licence=accepted)

    def createRunner(self, request, *, onProgress, onDone, onFailed):
        """A run that is not started yet: see RefaceLib.common.steps.StepRunner for start(), poll() and cancel().

        :param request: ReidentRiskLib.window.job.Request
        :param onProgress: called with a fraction 0..1 and the name of the stage
        :param onDone: called with the ReidentRiskLib.window.job.Findings, which show() adds to the scene
        :param onFailed: called with one sentence, or None after a cancel
        """
        return StepRunner(
            lambda folder: job.RiskFiles(request, folder),
            on_progress=onProgress,
            on_done=onDone,
            on_failed=onFailed,
            python=slicerui.python_executable(),
        )

    def show(self, request, findings, replaced=None):
        """Add what a run has found to the scene, in pieces; see ReidentRiskLib.window.results.add_result.

        The result `replaced` goes first, and the new one gets its number. RefaceError where volumes are gone.
        """
        nodes = request.nodes
        if any(node.GetScene() is None for node in nodes):
            raise RefaceError(_("A volume was deleted during the run, so that nothing is shown."))
        if replaced is not None and nodes[0].GetScene().IsNodePresent(replaced.table):
            results.remove_result(replaced.table)
            yield
        number = replaced.number if replaced is not None else None
        return (yield from results.add_result(nodes[0].GetScene(), request, findings, number))

    def compare(self, referenceVolume, probeVolumes, progress=None, cancelled=None, **options):
        """Compare the faces of volumes with that of a reference, and wait until it is done (for scripts).

        :param progress: called with a fraction 0..1 and the name of the stage
        :param cancelled: called now and then; the run stops with CancelledError once it returns True
        :param options: further fields of ReidentRiskLib.window.job.Request
        :return: ReidentRiskLib.window.results.RiskResultNodes, in the scene of the volumes, which are never changed
        :raises RefaceLib.common.errors.RefaceError: with one sentence for the user
        """
        request, shown = job.Request(referenceVolume, list(probeVolumes), **options), []

        def show(findings):
            shown.append((yield from self.show(request, findings)))

        runner = self.createRunner(
            request,
            onProgress=progress or no_progress,
            onDone=show,
            onFailed=lambda _sentence: None,
        )
        runner.wait(cancelled)
        return shown[0]


class ReidentRiskTest(ScriptedLoadableModuleTest):
    """Runs in the application (Reload and Test, or ctest); the tests of the parts are in Testing/Python."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_sampleHead(self):
        """The sample head through both modules: it resembles itself most, and the volumes stay as they are."""
        import numpy as np

        from Reface import RefaceLogic
        from RefaceLib.window import sampledata

        self.delayDisplay("Loading the sample head, and giving it another face")
        volume = sampledata.download()[0]
        before = slicer.util.arrayFromVolume(volume).copy()
        copy = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, volume, "Copy")
        refaced = RefaceLogic().process(volume, seed=1).volume
        after = slicer.util.arrayFromVolume(refaced).copy()

        self.delayDisplay("Comparing the faces")
        result = ReidentRiskLogic().compare(volume, [copy, refaced], model="sface", views="frontal")
        same, other = (probe["attackers"]["forced"]["mean_embedding"] for probe in result.report["probes"])
        self.assertGreater(same, 0.99)
        self.assertLess(other, same)
        self.assertGreater(result.surfaces[0].GetPolyData().GetNumberOfPoints(), 1000)
        self.assertTrue(np.array_equal(slicer.util.arrayFromVolume(volume), before))
        self.assertTrue(np.array_equal(slicer.util.arrayFromVolume(refaced), after))
        results.remove_result(result.table)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode"), 0)
