"""The Slicer module ReidentRisk: wiring only. What it does lives in ReidentRiskLib, see its folder window."""

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

from RefaceLib.common.errors import RefaceError
from RefaceLib.common.progress import no_progress
from RefaceLib.common.steps import StepRunner
from RefaceLib.window import slicerui
from RefaceLib.window.mrml import active_volume
from RefaceLib.window.parameters import Device
from ReidentRiskLib.attack import models
from ReidentRiskLib.window import faceviews, job, results
from ReidentRiskLib.window.parameters import Model, Views


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
        self._result = None
        self._licence = None  # the model that the licence text is shown of, and whether it may be used

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
        self.panel = slicerui.RunPanel(
            self.ui.progressBar, self.ui.statusLabel, self.ui.cancelButton, self._onRunning, job.stage_title
        )
        self._connect()
        self.initializeParameterNode()

    def _connect(self):
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        ui = self.ui
        ui.parameterNodeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onParameterNodeSelected)
        ui.probesSelector.connect("checkedNodesChanged()", self.onProbesChecked)
        ui.galleryPathLineEdit.connect("currentPathChanged(QString)", self.onGalleryChanged)
        ui.licenceCheckBox.connect("toggled(bool)", self.onLicenceToggled)
        ui.runButton.connect("clicked(bool)", self.onRunButton)
        ui.recomputeButton.connect("clicked(bool)", self.onRecomputeButton)
        ui.faceSelector.connect("currentIndexChanged(int)", self.onFaceSelected)
        ui.chartSelector.connect("currentIndexChanged(int)", self.onChartSelected)
        ui.layoutButton.connect("clicked(bool)", self.onLayoutButton)
        ui.removeModelsButton.connect("clicked(bool)", self.onRemoveModelsButton)

    def cleanup(self):
        """The application or the module is being closed."""
        self.panel.stop()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()

    def onSceneStartClose(self, caller=None, event=None):
        """A run has nothing to come back to: it ends, and its temporary files go."""
        self.panel.stop()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller=None, event=None):
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneEndImport(self, caller=None, event=None):
        if self.parent.isEntered:
            self.initializeParameterNode()
            slicerui.once_idle(self._onParametersModified)  # only then the selectors know the nodes that were read

    # ---- the parameter node ----

    def initializeParameterNode(self):
        """Take the chosen parameter node, or the scene's; offer the volume that the user is looking at."""
        chosen = self.ui.parameterNodeSelector.currentNode()
        node = ReidentRiskParameterNode(chosen) if chosen is not None else self.logic.getParameterNode()
        if node.reference is None:
            node.reference = active_volume(slicer.mrmlScene, slicer.app.applicationLogic())
        self.setParameterNode(node)

    def onParameterNodeSelected(self, node):
        if self._parameterNode is None or node is not self._parameterNode.parameterNode:
            self.setParameterNode(ReidentRiskParameterNode(node) if node is not None else None)

    def setParameterNode(self, node):
        """Connect the window with a parameter node, or with none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self.removeObservers(self._onParametersModified)
        self._parameterNode = node
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
            self._showLicence()
            self._showResult()
        finally:
            self._updating = False
        self._checkCanRun()

    def onProbesChecked(self):
        if self._parameterNode is not None and not self._updating and not slicer.mrmlScene.IsBatchProcessing():
            self._parameterNode.probes = list(self.ui.probesSelector.checkedNodes())

    def _showGallery(self):
        self.ui.galleryPathLineEdit.currentPath = self._parameterNode.gallery if self._parameterNode else ""

    def onGalleryChanged(self, path):
        if self._parameterNode is not None and not self._updating:
            self._parameterNode.gallery = path

    # ---- consent ----

    def _showLicence(self):
        """The tick and the licence's text where the model needs consent; the file is looked at once for each model."""
        model = self._parameterNode.model.value if self._parameterNode else Model.SFACE.value
        if self._licence is None or self._licence[0] != model:
            self._licence = model, models.is_accepted(model)
        needed, given = models.find_model(model).needs_consent, self._licence[1]
        self.ui.licenceCheckBox.setVisible(needed)
        self.ui.licenceCheckBox.setChecked(given)
        self.ui.licenceLabel.setText(models.find_model(model).licence_text)
        self.ui.licenceLabel.setVisible(needed and not given)

    def onLicenceToggled(self, accepted):
        if self._parameterNode is None or self._updating:
            return
        with slicer.util.tryWithErrorDisplay(_("Your choice could not be stored.")):
            (models.accept if accepted else models.remove)(self._parameterNode.model.value)
        self._forgetLicence()

    def onRemoveModelsButton(self, _checked=False):
        with slicer.util.tryWithErrorDisplay(_("The networks could not be removed.")):
            removed = [name for name in models.MODELS if models.remove(name)]
            names = ", ".join(removed) or _("none was there")
            self.ui.statusLabel.setText(_("Removed networks: {names}.").format(names=names))
        self._forgetLicence()

    def _forgetLicence(self):
        self._licence = None
        self._onParametersModified()

    # ---- running ----

    def _checkCanRun(self):
        reason = self._reasonNotToRun()
        self.ui.runButton.setEnabled(not reason)
        self.ui.runButton.setToolTip(reason or _("Compare the faces."))
        landmarks = self._parameterNode is not None and self._parameterNode.landmarks is not None
        self.ui.recomputeButton.setEnabled(not reason and landmarks)

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
        if self._licence is not None and not self._licence[1]:
            return _("Accept the licence of the model, or choose SFace, which is free.")
        return _("A run is under way.") if self.panel.running else ""

    def onRunButton(self, _checked=False):
        self._run(None, None)

    def onRecomputeButton(self, _checked=False):
        self._run(self._parameterNode.landmarks, self._parameterNode.result)

    def _run(self, landmarks, replaced):
        """Start a run; its result takes the place of the table `replaced` and what belongs to it."""
        parameterNode = self._parameterNode
        with slicer.util.tryWithErrorDisplay(_("The faces were not compared.")):
            slicerui.ensure_dependencies("ReidentRisk", self.resourcePath("requirements_ReidentRisk.txt"))
            request = self.logic.request(parameterNode, landmarks, acceptLicence=self._licence[1])
            runner = self.logic.createRunner(
                request,
                onProgress=self.panel.show,
                onDone=lambda findings: self._onDone(request, findings, parameterNode, replaced),
                onFailed=self._onFailed,
            )
            self.panel.run(runner)

    def _onRunning(self, _running):
        self._checkCanRun()

    def _onFailed(self, sentence):
        self.ui.statusLabel.setText("" if sentence else _("Stopped. The scene is as it was."))
        if sentence:
            slicerui.show_error(sentence)

    def _onDone(self, request, findings, parameterNode, replaced):
        result = self.logic.show(request, findings)
        if replaced is not None and slicer.mrmlScene.IsNodePresent(replaced):
            results.remove_result(replaced)
        parameterNode.result, parameterNode.landmarks = result.table, result.landmarks[0]
        self.ui.statusLabel.setText(_("Done in {seconds:.0f} s.").format(seconds=result.seconds))
        if self._result is not None and self._result.table is result.table:  # another parameter node may be shown
            self.onLayoutButton()

    # ---- results ----

    def _showResult(self):
        """Fill the panel of results, unless it shows this one already."""
        result = results.find_result(self._parameterNode.result if self._parameterNode else None)
        if result is not None and self._result is not None and result.table is self._result.table:
            return
        self._result = result
        self.ui.resultsCollapsibleButton.collapsed = result is None
        self.ui.summaryBrowser.setHtml(results.summary(result) if result else "")
        for selector, names in (
            (self.ui.faceSelector, result.names[1:] if result else []),
            (self.ui.chartSelector, [chart.GetName() for chart in result.charts] if result else []),
        ):
            selector.clear()
            selector.addItems(names)
        self.ui.layoutButton.setEnabled(result is not None)

    def onFaceSelected(self, index):
        if self._result is not None and not self._updating and index >= 0:
            faceviews.show_pair(self._result, index + 1)
            self._lookAtFaces(index + 1)

    def onChartSelected(self, index):
        if self._result is not None and not self._updating and 0 <= index < len(self._result.charts):
            faceviews.show_chart(slicer.app.applicationLogic(), self._result.charts[index])

    def onLayoutButton(self, _checked=False):
        """Show the faces side by side, the plot and the table of the result."""
        manager = slicer.app.layoutManager()
        if manager is None or self._result is None:  # without a main window
            return
        manager.setLayout(faceviews.add_layout(manager.layoutLogic().GetLayoutNode()))
        self.onFaceSelected(self.ui.faceSelector.currentIndex)
        self.onChartSelected(self.ui.chartSelector.currentIndex)
        faceviews.show_table(slicer.app.applicationLogic(), self._result.table)

    def _lookAtFaces(self, probe):
        for tag, index in zip(faceviews.VIEWS, (0, probe), strict=True):
            view = faceviews.view_node(slicer.mrmlScene, tag)
            camera = slicer.modules.cameras.logic().GetViewActiveCameraNode(view) if view is not None else None
            if camera is not None:
                faceviews.look_at_face(camera, self._result.surfaces[index])


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

    def show(self, request, findings):
        """Add what a run has found to the scene: ReidentRiskLib.window.results.RiskResultNodes.

        RefaceError where volumes are gone.
        """
        nodes = request.nodes
        if any(node.GetScene() is None for node in nodes):
            raise RefaceError(_("A volume was deleted during the run, so that nothing is shown."))
        return results.add_result(nodes[0].GetScene(), nodes, findings)

    def compare(self, referenceVolume, probeVolumes, progress=None, cancelled=None, **options):
        """Compare the faces of volumes with that of a reference, and wait until it is done (for scripts).

        :param progress: called with a fraction 0..1 and the name of the stage
        :param cancelled: called now and then; the run stops with CancelledError once it returns True
        :param options: further fields of ReidentRiskLib.window.job.Request
        :return: ReidentRiskLib.window.results.RiskResultNodes, in the scene of the volumes, which are never changed
        :raises RefaceLib.common.errors.RefaceError: with one sentence for the user
        """
        request, shown = job.Request(referenceVolume, list(probeVolumes), **options), []
        runner = self.createRunner(
            request,
            onProgress=progress or no_progress,
            onDone=lambda findings: shown.append(self.show(request, findings)),
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
