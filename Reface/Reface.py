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
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from RefaceLib.common.progress import no_progress
from RefaceLib.common.steps import StepRunner
from RefaceLib.face.seeds import new_seed
from RefaceLib.window import comparison, export, job, mrml, results, sampledata, slicerui
from RefaceLib.window.parameters import MAX_CANDIDATES, MAX_WINDOW_SEED, Device, Mode


class Reface(ScriptedLoadableModule):
    """What the application shows about the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Reface")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Utilities")]
        parent.dependencies = []
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
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._updating = False

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/Reface.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        self.ui.parameterNodeSelector.addAttribute("vtkMRMLScriptedModuleNode", "ModuleName", "Reface")
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = RefaceLogic()
        self.panel = slicerui.RunPanel(
            self.ui.progressBar,
            self.ui.statusLabel,
            self.ui.cancelButton,
            lambda _running: self._checkCanApply(),
            job.stage_title,
        )
        ui = self.ui
        self.comparison = comparison.ComparePanel(
            ui.compareButton, ui.compareSlider, ui.compareLabel, ui.maskCheckBox, ui.turntableButton
        )
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self.comparison.dropRemoved)
        self.ui.parameterNodeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onParameterNodeSelected)
        self.ui.otherVolumesSelector.connect("checkedNodesChanged()", self.onOtherVolumesChanged)
        self.ui.modelsPathLineEdit.connect("currentPathChanged(QString)", self.onModelsChanged)
        self.ui.newFaceButton.connect("clicked()", self.onNewFaceButton)
        self.ui.applyButton.connect("clicked()", self.onApplyButton)
        self.ui.saveButton.connect("clicked()", self.onSaveButton)
        self.ui.dicomButton.connect("clicked()", self.onDicomButton)
        self.ui.reportButton.connect("clicked()", self.onReportButton)
        if self.logic.judge is None:
            self.ui.candidatesSpinBox.enabled = False
            self.ui.candidatesSpinBox.toolTip = _("The module ReidentRisk, which compares faces, is not installed.")
        self.initializeParameterNode()

    def cleanup(self):
        """The application is closing, or the module is being reloaded."""
        if self.panel is not None:
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
        """The run that is under way has nowhere to go any more."""
        self.panel.stop()
        self.setParameterNode(None)

    def onSceneEndClose(self, _caller=None, _event=None):
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneEndImport(self, _caller=None, _event=None):
        if self.parent.isEntered:
            self.initializeParameterNode()
            slicerui.once_idle(self._onParametersChanged)  # only then the selectors know the nodes that were read

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
        if self._parameterNode is None or node is not self._parameterNode.parameterNode:
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

    def onOtherVolumesChanged(self):
        if self._parameterNode is not None and not self._updating and not slicer.mrmlScene.IsBatchProcessing():
            self._parameterNode.otherVolumes = list(self.ui.otherVolumesSelector.checkedNodes())

    def onModelsChanged(self, path):
        if self._parameterNode is not None and not self._updating:
            self._parameterNode.models = path

    def _onParametersChanged(self, _caller=None, _event=None):
        if self._parameterNode is not None:
            self._updating = True  # ticks are set one by one, and each emits a signal
            slicerui.tick_nodes(self.ui.otherVolumesSelector, self._parameterNode.otherVolumes)
            self.ui.modelsPathLineEdit.currentPath = self._parameterNode.models
            self._updating = False
            self.ui.modelInfoLabel.text = results.model_text(self._parameterNode.models)
        self._checkCanApply()
        self._showResult()

    def _checkCanApply(self):
        parameters = self._parameterNode
        running = self.panel.running
        if parameters is None or parameters.inputVolume is None:
            problem = _("Choose an input volume.")
        elif parameters.outputVolume is parameters.inputVolume:
            problem = _("Choose another output volume: the input is never changed.")
        else:
            problem = _("A run is under way.") if running else ""
        self.ui.applyButton.enabled = not problem
        self.ui.applyButton.toolTip = problem or _("Make the new face.")

    def onNewFaceButton(self):
        self._parameterNode.seed = new_seed(MAX_WINDOW_SEED)

    # ---- the run ----

    def onApplyButton(self):
        with slicer.util.tryWithErrorDisplay(_("The volume was not refaced."), waitCursor=True):
            parameters = self._parameterNode
            files = [self.resourcePath("requirements_Reface.txt")]
            if parameters.candidates > 1 and parameters.mode is not Mode.DEFACE and self.logic.judge is not None:
                files.append(self.logic.judge.requirements)
            lost = results.would_be_lost(parameters.outputVolume)
            if lost and not slicerui.confirm(results.overwrite_question(parameters.outputVolume)):
                return
            slicerui.ensure_dependencies("Reface", *files)
            runner = self.logic.createRunner(
                parameters.inputVolume,
                parameters.outputVolume,
                mode=parameters.mode.value,
                seed=parameters.seed,
                ears=parameters.ears,
                device=parameters.device.value,
                models=parameters.models,
                candidates=parameters.candidates,
                otherVolumes=parameters.otherVolumes,
                maskSegmentation=parameters.maskSegmentation,
                overwrite=lost,
                onProgress=self.panel.show,
                onDone=lambda result: self._onDone(parameters, result),
                onFailed=self._onFailed,
            )
            self.panel.run(runner)

    def _onDone(self, parameters, result):
        parameters.resultVolume = result.volume
        self._showResult()
        ready = _("'{name}' is ready.").format(name=result.volume.GetName())
        self.ui.statusLabel.text = " ".join(filter(None, [ready, self.comparison.present(result.volume)]))

    def _onFailed(self, sentence):
        self.ui.statusLabel.text = sentence or _("The run was cancelled. Nothing was added to the scene.")
        if sentence:
            slicerui.show_error(sentence)

    # ---- the result ----

    @property
    def resultVolume(self):
        """The volume of the last run with these parameters; None where there was none, or it was removed."""
        return self._parameterNode.resultVolume if self._parameterNode is not None else None

    def _showResult(self):
        text = results.result_text(self.resultVolume)
        self.ui.resultLabel.text = text or _("No result yet.")
        before = self.resultVolume.GetNodeReference(results.INPUT_ROLE) if text else None
        self.comparison.setPair(before, self.resultVolume)
        for button in (self.ui.saveButton, self.ui.dicomButton, self.ui.reportButton):
            button.enabled = bool(text)

    def onSaveButton(self):
        self._save(_("Save the result"), export.save_file, ".nii.gz", export.FILE_FILTERS)

    def onReportButton(self):
        self._save(_("Save the report"), export.save_report, ".json", ["JSON (*.json)"])

    def onDicomButton(self):
        self._save(_("Choose an empty folder for the DICOM series"), export.save_dicom)

    def _save(self, title, write, ending=None, filters=()):
        """Ask for a file (or a folder, where there is no ending), and let `write` write the result there."""
        with slicer.util.tryWithErrorDisplay(_("Nothing was saved."), waitCursor=False):
            name = self.resultVolume.GetName() + (ending or "")
            path = slicerui.ask_for_path(title, name if ending else None, filters)
            if path:
                write(self.resultVolume, path)


class RefaceLogic(ScriptedLoadableModuleLogic):
    """Refaces volume nodes in child processes; needs no window, and only the scene of the application."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleLogic.__init__(self, parent)
        self.isSingletonParameterNode = False
        self.judge = job.face_judge()  # compares several faces with the original; None without ReidentRisk

    def getParameterNode(self):
        return RefaceParameterNode(super().getParameterNode())

    def createRunner(
        self,
        inputVolume,
        outputVolume=None,
        *,
        mode="auto",
        seed=0,
        ears=True,
        device="auto",
        models="",
        candidates=1,
        otherVolumes=(),
        maskSegmentation=None,
        overwrite=False,
        onProgress,
        onDone,
        onFailed,
    ):
        """A run that is not started yet: see RefaceLib.common.steps.StepRunner for start(), poll() and cancel().

        :param inputVolume: vtkMRMLScalarVolumeNode in a scene; never changed
        :param outputVolume: scalar volume node to write into, or None for a new one beside the input
        :param mode: "reface" a whole head, "deface" it only, "recover" one defaced before; "auto": reface or recover
        :param seed: the same seed gives the same face
        :param ears: treat the ears too
        :param device: "auto", "cpu", "cuda" or "mps"
        :param models: folder of weights of one's own; empty: those of the extension
        :param candidates: number of faces to make; the one least like the original is kept
        :param otherVolumes: further volumes of the session, defaced alike, each into a new volume
        :param maskSegmentation: segmentation node that gets the mask beside its other segments, or None: see masks
        :param overwrite: whether an outputVolume that is no result of Reface may lose its image
        :param onProgress: called with a fraction 0..1 and the name of the stage
        :param onDone: called with a RefaceLib.window.results.RefaceResultNodes once everything is in the scene
        :param onFailed: called with one sentence, or None after a cancel; nothing has been added then
        :raises RefaceLib.common.errors.RefaceError: with one sentence for the user
        """
        others = tuple(filter(None, otherVolumes))
        nodes = results.RefaceNodes(inputVolume, others, outputVolume, maskSegmentation, overwrite)
        options = {"mode": mode, "seed": seed, "ears": ears, "device": device, "models": models}
        request = results.make_request(nodes, candidates=candidates, **options)
        return StepRunner(
            lambda folder: job.RefaceFiles(request, folder, self.judge),
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


class RefaceTest(ScriptedLoadableModuleTest):
    """Runs in the application (Reload and Test, or ctest): the sample head goes through the module.

    The tests of the parts, and those with stand-ins, are in Testing/Python and need no application.
    """

    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_sampleHead(self):
        """Promises 1 and 2 on the arrays in the scene, and that the same seed gives the same face."""
        import numpy as np

        self.delayDisplay("Loading the sample head")
        volume = sampledata.download()[0]
        before = slicer.util.arrayFromVolume(volume).copy()
        self.delayDisplay("A new face")
        result = RefaceLogic().process(volume, seed=1)
        after = slicer.util.arrayFromVolume(result.volume)
        segmentId = mrml.mask_segment(result.mask)
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(result.mask, segmentId, volume) > 0
        self.assertTrue(np.array_equal(slicer.util.arrayFromVolume(volume), before))
        self.assertEqual(after.dtype, before.dtype)
        self.assertTrue(np.array_equal(after[~mask], before[~mask]))
        self.assertGreater(int((after != before).sum()), 10000)
        self.assertEqual(result.report["voxels_changed_outside_mask"], 0)
        self.assertEqual(result.report["brain_voxels_changed"], 0)

        self.delayDisplay("The same seed, the same face")
        again = RefaceLogic().process(volume, seed=1)
        self.assertTrue(np.array_equal(slicer.util.arrayFromVolume(again.volume), after))

    def test_newFaceDoesNotKnowTheOldOne(self):
        """Promise 3, on the sample head: with a mask that is given, noise in place of the face changes no bit."""
        import dataclasses
        from unittest import mock

        import numpy as np

        from RefaceLib import pipeline

        self.delayDisplay("A head, and the same head with noise in place of the face")
        head = mrml.volume_from_node(sampledata.download()[0])
        options = pipeline.RefaceOptions(seed=1)
        expected = pipeline.reface_volume(head, options)
        noise = head.stored.copy()
        noise[expected.mask] = np.random.default_rng(5).permutation(noise[expected.mask])
        parse, parses = pipeline.parse_head, []

        def parseOnceOfTheOriginal(values, *rest):
            parses.append(values)  # the first is for the mask, and that is given
            return parse(head.values() if len(parses) == 1 else values, *rest)

        with mock.patch.object(pipeline, "parse_head", parseOnceOfTheOriginal):
            result = pipeline.reface_volume(dataclasses.replace(head, stored=noise), options)
        self.assertTrue(np.array_equal(result.mask, expected.mask))
        self.assertTrue(np.array_equal(result.stored, expected.stored))
