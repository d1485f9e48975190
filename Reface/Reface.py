"""The Slicer module Reface: wiring only. The work is in RefaceLib, see its folder window."""

from pathlib import Path
from typing import Annotated

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from RefaceLib.common.progress import no_progress
from RefaceLib.common.steps import StepRunner
from RefaceLib.face.seeds import new_seed
from RefaceLib.window import (
    candidates,
    comparison,
    job,
    mrml,
    personpanel,
    results,
    sampledata,
    savepanel,
    selftest,
    settings,
    slicerui,
)
from RefaceLib.window.parameters import MAX_CANDIDATES, MAX_WINDOW_SEED, Device, Mode, nothing_chosen


class Reface(ScriptedLoadableModule):
    """What the application shows about the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Reface")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Utilities")]
        parent.dependencies = ["SubjectHierarchy"]  # to whose menus an action is added
        parent.contributors = ["The Reface developers"]
        parent.helpText = _(
            "Replaces the face in a head MRI by a generated one, against recognition of the person from a rendering. "
            "The brain and everything else outside the face mask stay as they are, to the last bit. "
            "Choose a volume and press Apply: a new volume and the mask are added to the scene; the input is never "
            "changed. Another seed gives another face. A head to try it on is in the module Sample Data, under Reface; "
            "docs/tutorial.md in the extension's repository goes through all of it in ten minutes."
        )
        parent.acknowledgementText = _(
            "The idea of refacing with a 3D conditional generative adversarial network is from: "
            "Molchanova N., Maréchal B., Thiran J.-P., Kober T., Huelnhagen T., Richiardi J.: "
            "Fast refacing of MR images with a generative neural network lowers re-identification risk and preserves "
            "volumetric consistency, arXiv:2305.16922. Code and weights of this module are independent of theirs."
        )
        icon = Path(__file__).parent / "Resources" / "Icons" / "Reface.png"
        slicer.app.connect("startupCompleted()", lambda: sampledata.register(str(icon)))

    def setup(self):
        """The application calls it once, when all modules can be used."""
        from RefaceLib.window import RefaceSubjectHierarchyPlugin

        RefaceSubjectHierarchyPlugin.register()


@parameterNodeWrapper
class RefaceParameterNode:
    """All choices of the window; saved with the scene."""

    inputVolume: slicer.vtkMRMLScalarVolumeNode
    mode: Mode = Mode.AUTO
    otherVolumes: list[slicer.vtkMRMLScalarVolumeNode]
    seed: Annotated[int, WithinRange(0, MAX_WINDOW_SEED)] = 0
    candidates: Annotated[int, WithinRange(1, MAX_CANDIDATES)] = 1
    ears: bool = True
    outputVolume: slicer.vtkMRMLScalarVolumeNode
    maskSegmentation: slicer.vtkMRMLSegmentationNode
    device: Device = Device.AUTO
    models: str = ""  # folder of weights of one's own
    resultVolume: slicer.vtkMRMLScalarVolumeNode  # what the result panel shows


class RefaceWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The window: Resources/UI/Reface.ui and what happens when its controls are used."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self.comparison = None
        self.saving = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self.person = None
        self.candidates = None
        self._updating = False
        self.whenIdle = slicerui.WhenIdle()

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/Reface.ui"))
        self.layout.addWidget(uiWidget)
        ui = self.ui = slicer.util.childWidgetVariables(uiWidget)
        self.labels = slicerui.Labels(uiWidget, self.whenIdle)
        self.ui.parameterNodeSelector.addAttribute("vtkMRMLScriptedModuleNode", "ModuleName", "Reface")
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = RefaceLogic()
        self.panel = slicerui.RunPanel(
            self.ui.progressBar, self.ui.statusLabel, self.ui.cancelButton, self.onRunning, job.stage_title
        )
        self.person = personpanel.PersonPanel(
            self.ui.personTable, self.ui.addVolumeSelector, self.ui.tickAllButton, self.panel
        )
        self.candidates = candidates.CandidateRow(self.ui.candidatesFrame, self.onCandidateTaken)
        compare = (ui.compareButton, ui.compareSlider, ui.compareLabel, ui.maskCheckBox, ui.turntableButton)
        self.comparison = comparison.ComparePanel(*compare)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.showSettings)
        used = settings.Uses(RefaceParameterNode, nothing_chosen, lambda found: found.resultVolume is not None)
        loaded = settings.LoadedSettings(
            "Reface", self.ui.parameterNodeSelector, used, self.whenIdle, self.showSettings
        )
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, loaded.startImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, loaded.endImport)
        # Before the selectors, which would go to another volume.
        self.addObserver(
            slicer.mrmlScene, slicer.mrmlScene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved, priority=10.0
        )
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAddedEvent, self.onNodesChanged)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self.onNodesChanged)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self.comparison.dropRemoved)
        self.ui.parameterNodeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onParameterNodeSelected)
        slicerui.observe_path(self.ui.modelsPathLineEdit, self.onModelsChanged)
        self.ui.newFaceButton.connect("clicked()", self.onNewFaceButton)
        self.ui.applyButton.connect("clicked()", self.onApplyButton)
        self.saving = savepanel.SavePanel(
            ui.shareButton, self.resourcePath("UI/SaveForSharing.ui"), (ui.saveButton, ui.dicomButton, ui.reportButton),
            ui.warningLabel, lambda text: self.labels.write(ui.statusLabel, text),
            self.resourcePath("requirements_Reface.txt"),
        )  # fmt: skip
        if self.logic.judge is None:
            self.ui.candidatesSpinBox.enabled = False
            self.ui.candidatesSpinBox.toolTip = _("The module ReidentRisk, which compares faces, is not installed.")
        self.initializeParameterNode()

    def cleanup(self):
        """The application is closing, or the module is being reloaded."""
        self.whenIdle.close()
        self.panel.stop()
        self.exit()
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()
        self.comparison.enter()

    def exit(self):
        self.setParameterNode(None)
        if self.comparison is not None:
            self.comparison.exit()

    def onSceneStartClose(self, _caller=None, _event=None):
        """The run that is under way has nowhere to go any more, and what was told is of nodes that go."""
        self.panel.stop()
        self.ui.statusLabel.text = ""
        self.person.forget()
        self.setParameterNode(None)

    def showSettings(self, _caller=None, _event=None):
        """The choices in the scene are others than before: it was closed, or one was read."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, _scene, _event, node):
        """What was chosen is about to go: no other node takes its place by itself, and the run of an input ends."""
        if self._parameterNode is not None:
            settings.let_go(self._parameterNode, node)
        if self.panel.remove(node):
            text = _("'{name}' was removed, so its run was stopped. Nothing was added to the scene.")
            self.ui.statusLabel.text = text.format(name=node.GetName())

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodesChanged(self, scene, _event, node):
        if node.IsA("vtkMRMLScalarVolumeNode") and not scene.IsBatchProcessing():
            self._onParametersChanged()
            self.whenIdle(self.person.refresh)  # its place in the subject hierarchy is known later

    # ---- parameters ----

    def initializeParameterNode(self):
        """Show the chosen parameter node, and in it the volume that the user is looking at, unless one is chosen."""
        node = self.ui.parameterNodeSelector.currentNode()
        self.setParameterNode(RefaceParameterNode(node) if node is not None else self.logic.getParameterNode())
        if self._parameterNode.inputVolume is None:
            volume = mrml.active_volume(slicer.mrmlScene, slicer.app.applicationLogic())
            if volume is not None:
                self._parameterNode.inputVolume = volume

    def onParameterNodeSelected(self, node):
        shown = self._parameterNode.parameterNode if self._parameterNode is not None else None
        if self.parent.isEntered and node is not shown:
            self.setParameterNode(RefaceParameterNode(node) if node is not None else None)

    def setParameterNode(self, parameterNode):
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(
                self._parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersChanged
            )
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.ui.parameterNodeSelector.setCurrentNode(parameterNode.parameterNode)
            self.addObserver(parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersChanged)
        self._onParametersChanged()

    def onModelsChanged(self, path):
        if self._parameterNode is not None and not self._updating:
            self._parameterNode.models = path

    def _onParametersChanged(self, _caller=None, _event=None):
        if self._parameterNode is not None:
            models = self._parameterNode.models
            self._updating = True
            if self.ui.modelsPathLineEdit.currentPath != models:
                self.ui.modelsPathLineEdit.currentPath = models
            self._updating = False
            self.ui.modelInfoLabel.text = "".join(results.about_models(models))
        self.person.show(self._parameterNode)
        self._checkCanApply()
        self._showResult()

    def _checkCanApply(self):
        problem = self._problem()
        running = self.panel is not None and self.panel.running
        told = _("Make the new face, after the run that is under way.") if running else _("Make the new face.")
        self.ui.applyButton.enabled = not problem
        self.ui.applyButton.toolTip = problem or told

    def onRunning(self, _running):
        """A run has begun, waits or has ended."""
        self._checkCanApply()
        self.person.refresh()

    def _problem(self):
        """Why nothing can be done with the choices as they are; empty where it can."""
        parameters = self._parameterNode
        if parameters is None or parameters.inputVolume is None:
            return _("Choose an input volume.")
        if parameters.outputVolume is parameters.inputVolume:
            return _("Choose another output volume: the input is never changed.")
        return results.input_problem(parameters.inputVolume) or results.about_models(parameters.models)[1]

    def choosePerson(self, volumes):
        """Take these volumes of one person into the table: the best of them for a face as input, all ticked."""
        if self._parameterNode is None:
            self.initializeParameterNode()
        self.person.choose(volumes)

    def onNewFaceButton(self):
        self._parameterNode.seed = new_seed(MAX_WINDOW_SEED)

    # ---- the run ----

    def onApplyButton(self):
        with slicer.util.tryWithErrorDisplay(_("The volume was not refaced."), waitCursor=True):
            parameters = self._parameterNode
            files = [self.resourcePath("requirements_Reface.txt")]
            if parameters.candidates > 1 and parameters.mode is not Mode.DEFACE and self.logic.judge is not None:
                files.append(self.logic.judge.requirements)
            lost = results.would_be_lost(parameters.outputVolume, parameters.inputVolume)
            if lost and not slicerui.confirm(results.overwrite_question(parameters.outputVolume)):
                return
            slicerui.ensure_dependencies("Reface", *files)
            volumes, problems = results.usable(self.person.volumes)
            runner = self.logic.createRunner(
                parameters.inputVolume,
                parameters.outputVolume,
                mode=parameters.mode.value,
                seed=min(parameters.seed, MAX_WINDOW_SEED + 1 - parameters.candidates),  # the last has a box too
                ears=parameters.ears,
                device=parameters.device.value,
                models=parameters.models,
                candidates=parameters.candidates,
                otherVolumes=volumes[1:],
                maskSegmentation=parameters.maskSegmentation,
                overwrite=lost,
                onProgress=lambda fraction, stage: self._onProgress(volumes[0], fraction, stage),
                onDone=lambda result: self._onDone(parameters, volumes[0], result),
                onFailed=lambda sentence: self._onFailed(volumes[0], sentence),
            )
            self.panel.run(runner, volumes)
            self.person.started(self.person.volumes)
            for other, sentence in problems.items():  # each fails alone
                self.person.failed(other, sentence)

    def _onProgress(self, volume, fraction, stage):
        self.panel.show(fraction, stage)
        self.person.told(volume, stage)

    def _onDone(self, parameters, volume, result):
        parameters.resultVolume = result.volume
        if "candidates" in result.report:
            self.candidates.offer(result.choices)
            if parameters.inputVolume is volume:  # else the seed is for another head by now
                parameters.seed = result.report["seed"]  # that of the face that was kept
        for other, sentence in result.failed:
            self.person.failed(other, sentence)
        self._showResult()
        told = [results.done_text(result), self.comparison.present(result.volume)]
        self.ui.statusLabel.text = " ".join(filter(None, told))

    def _onFailed(self, volume, sentence):
        self.ui.statusLabel.text = sentence or _("The run was cancelled. Nothing was added to the scene.")
        if sentence:
            self.person.failed(volume, sentence)
            slicerui.show_error(sentence)

    # ---- the result ----

    @property
    def resultVolume(self):
        """The volume of the last run with these parameters; None where there was none, or it was removed."""
        volume = self._parameterNode.resultVolume if self._parameterNode is not None else None
        # While a node is being removed, references still lead to it.
        return volume if volume is not None and volume.GetScene() is slicer.mrmlScene else None

    def _showResult(self):
        text = results.result_text(self.resultVolume)
        self.labels.write(self.ui.resultLabel, text or _("No result yet."))
        self.candidates.show(self.resultVolume)
        before = self.resultVolume.GetNodeReference(results.INPUT_ROLE) if text else None
        self.comparison.setPair(before, self.resultVolume)
        self.saving.setResult(self.resultVolume if text else None)

    def onCandidateTaken(self, seed):
        """Another face of the run has become the result."""
        self._parameterNode.seed = seed
        self._onParametersChanged()
        self.ui.statusLabel.text = self.comparison.present(self.resultVolume)


class RefaceLogic(ScriptedLoadableModuleLogic):
    """Refaces volume nodes in child processes; needs no window, and only the scene of the application."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleLogic.__init__(self, parent)
        self.isSingletonParameterNode = False
        self.judge = job.face_judge()  # compares several faces with the original; None without ReidentRisk

    def getParameterNode(self):
        return RefaceParameterNode(super().getParameterNode())

    def createRunner(
        self, inputVolume, outputVolume=None, *, mode="auto", seed=0, ears=True, device="auto", models="",
        candidates=1, otherVolumes=(), maskSegmentation=None, overwrite=False, onProgress, onDone, onFailed,
    ):  # fmt: skip
        """A run that is not started yet: see RefaceLib.common.steps.StepRunner for start(), poll() and cancel().

        :param inputVolume: vtkMRMLScalarVolumeNode in a scene; never changed
        :param outputVolume: scalar volume node to write into, or None for a new one beside the input
        :param mode: "reface" a whole head, "deface" it only, "recover" one defaced before; "auto": reface or recover
        :param seed: the same seed gives the same face
        :param ears: treat the ears too
        :param device: "auto", "cpu", "cuda" or "mps"
        :param models: folder of weights of one's own; empty: those of the extension
        :param candidates: number of faces to make; the one least like the original is kept
        :param otherVolumes: further volumes of the person, each defaced into a new volume, or left out with a reason
        :param maskSegmentation: segmentation node that gets the mask beside its other segments, or None: see masks
        :param overwrite: whether an outputVolume that is no result of the input may lose its image
        :param onProgress: called with a fraction 0..1 and the name of the stage
        :param onDone: called with a RefaceLib.window.results.RefaceResultNodes once everything is in the scene
        :param onFailed: called with one sentence, or None after a cancel; nothing has been added then
        :raises RefaceLib.common.errors.RefaceError: with one sentence for the user
        """
        others = tuple(filter(None, otherVolumes))
        nodes = results.RefaceNodes(inputVolume, others, outputVolume, maskSegmentation, overwrite)
        results.check_nodes(nodes)
        options = {"mode": mode, "seed": seed, "ears": ears, "device": device, "models": models}
        return StepRunner(  # the voxels are copied when its turn comes
            lambda folder: job.RefaceFiles(
                results.make_request(nodes, candidates=candidates, **options), folder, self.judge
            ),
            on_progress=onProgress,
            on_done=lambda answer: onDone(results.show_answer(nodes, answer)),
            on_failed=onFailed,
            python=slicerui.python_executable(),
        )

    def process(self, inputVolume, outputVolume=None, *, progress=None, cancelled=None, **options):
        """Run createRunner() to its end, for scripts; the window stands still meanwhile.

        :param progress: called with a fraction 0..1 and the name of the stage
        :param cancelled: called now and then; the run stops with CancelledError once it returns True
        :param options: those of createRunner()
        :return: RefaceLib.window.results.RefaceResultNodes
        :raises RefaceLib.common.errors.RefaceError: with one sentence for the user
        """
        shown = []
        runner = self.createRunner(
            inputVolume,
            outputVolume,
            onProgress=progress or no_progress,
            onDone=shown.append,
            onFailed=lambda _sentence: None,
            **options,
        )
        runner.wait(cancelled)
        return shown[0]


class RefaceTest(selftest.SelfTest):
    """Runs in the application (Reload and Test, or ctest): the sample head goes through the module."""

    logic = RefaceLogic
