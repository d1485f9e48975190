"""The Slicer module Reface: wiring only. What it does lives in RefaceLib; see RefaceLib.pipeline and RefaceLib.mrml."""

import importlib.util
import logging
import time

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

from RefaceLib import mrml
from RefaceLib.errors import InputError, WeightsError

TORCH_REQUIREMENT = ">=2.4"
MASK_REFERENCE_ROLE = "Reface.Mask"  # from a result volume to the segmentation of its mask


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
            "changed. Another seed gives another face."
        )
        parent.acknowledgementText = _(
            "The idea of refacing with a 3D conditional generative adversarial network is from: "
            "Molchanova N., Maréchal B., Thiran J.-P., Kober T., Huelnhagen T., Richiardi J.: "
            "Fast refacing of MR images with a generative neural network lowers re-identification risk and preserves "
            "volumetric consistency, arXiv:2305.16922. Code and weights of this module are independent of theirs."
        )


class RefaceWidget(ScriptedLoadableModuleWidget):
    """A volume, a seed, the ears, a button and a line of text."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.logic = None

    def setup(self):
        import ctk
        import qt

        ScriptedLoadableModuleWidget.setup(self)
        self.logic = RefaceLogic()

        section = ctk.ctkCollapsibleButton()
        section.text = _("Reface")
        self.layout.addWidget(section)
        form = qt.QFormLayout(section)

        self.inputSelector = slicer.qMRMLNodeComboBox()
        self.inputSelector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        self.inputSelector.showChildNodeTypes = False
        self.inputSelector.addEnabled = False
        self.inputSelector.removeEnabled = False
        self.inputSelector.noneEnabled = True
        self.inputSelector.toolTip = _("Head MRI to reface. It is not changed.")
        self.inputSelector.setMRMLScene(slicer.mrmlScene)
        form.addRow(_("Input volume:"), self.inputSelector)

        self.seedSpinBox = qt.QSpinBox()
        self.seedSpinBox.setRange(0, 999999)
        self.seedSpinBox.toolTip = _("The same seed gives the same face, another seed another one.")
        form.addRow(_("Seed:"), self.seedSpinBox)

        self.earsCheckBox = qt.QCheckBox()
        self.earsCheckBox.checked = True
        self.earsCheckBox.toolTip = _("Replace the ears too.")
        form.addRow(_("Ears:"), self.earsCheckBox)

        self.applyButton = qt.QPushButton(_("Apply"))
        form.addRow(self.applyButton)

        self.statusLabel = qt.QLabel()
        self.statusLabel.wordWrap = True
        form.addRow(self.statusLabel)
        self.layout.addStretch(1)

        self.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._checkCanApply)
        self.applyButton.connect("clicked(bool)", self.onApplyButton)
        self._checkCanApply()

    def enter(self):
        """Offer the volume that the user is looking at, unless one is chosen."""
        if self.inputSelector.currentNode() is None:
            self.inputSelector.setCurrentNode(mrml.active_volume(slicer.mrmlScene, slicer.app.applicationLogic()))

    def onApplyButton(self, _checked=False):
        with slicer.util.tryWithErrorDisplay(_("The volume was not refaced."), waitCursor=True):
            self.applyButton.enabled = False
            try:
                self._ensureDependencies()
                outputVolume, _segmentation, report = self.logic.process(
                    self.inputSelector.currentNode(),
                    seed=self.seedSpinBox.value,
                    ears=self.earsCheckBox.checked,
                    progress=self._showProgress,
                )
            except Exception:
                self.statusLabel.text = ""
                raise
            finally:
                self._checkCanApply()
            slicer.util.setSliceViewerLayers(background=outputVolume)
            done = _("'{name}' is ready: {voxels} voxels changed, none of the brain, {seconds:.1f} s.").format(
                name=outputVolume.GetName(), voxels=report["voxels_changed"], seconds=report["seconds"]["total"]
            )
            self.statusLabel.text = "\n".join([done, *report["warnings"]])

    def _checkCanApply(self, _node=None):
        ready = self.inputSelector.currentNode() is not None
        self.applyButton.enabled = ready
        self.applyButton.toolTip = _("Make a refaced copy of the volume.") if ready else _("Choose an input volume.")

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
                message = _("Reface needs the PyTorch extension: install it in the Extensions Manager.")
                raise RuntimeError(message) from error
            logic = PyTorchUtils.PyTorchUtilsLogic()
            if logic.installTorch(askConfirmation=True, torchVersionRequirement=TORCH_REQUIREMENT) is None:
                raise RuntimeError(_("Reface needs PyTorch, which was not installed: press Apply again to install it."))
        from slicer.packaging import load_requirements, pip_ensure

        pip_ensure(load_requirements(self.resourcePath("requirements_Reface.txt")), requester="Reface")


class RefaceLogic(ScriptedLoadableModuleLogic):
    """Refaces volume nodes; needs no window, and no more of the application than the scene that the volume is in."""

    def __init__(self, refaceVolume=None):
        """:param refaceVolume: used in place of RefaceLib.pipeline.reface_volume (for tests)"""
        ScriptedLoadableModuleLogic.__init__(self)
        self._refaceVolume = refaceVolume

    def process(
        self,
        inputVolume,
        outputVolume=None,
        mode="reface",
        seed=0,
        ears=True,
        device="auto",
        progress=None,
        cancelled=None,
        models=None,
    ):
        """Reface a volume; nodes are added or changed only when everything has gone well.

        :param inputVolume: vtkMRMLScalarVolumeNode in a scene; never changed
        :param outputVolume: scalar volume node to write into, or None for a new one beside the input
        :param mode: one of RefaceLib.pipeline.MODES: "reface" a whole head, "deface" it only, or "recover" a face in a
          head that somebody else has defaced
        :param seed: the same seed gives the same face
        :param ears: treat the ears too
        :param device: "auto", "cpu", "cuda" or "mps"
        :param progress: called with a fraction 0..1 and the name of the stage
        :param cancelled: called now and then; the run stops with CancelledError once it returns True
        :param models: from RefaceLib.pipeline.load_models(), to load the networks once for several volumes
        :return: output volume node, segmentation node of the mask, report (dict, see RefaceLib.report.build_report)
        :raises RefaceLib.errors.RefaceError: with one sentence for the user
        """
        from RefaceLib.pipeline import RefaceOptions, reface_volume
        from RefaceLib.report import build_report

        mrml.check_input(inputVolume)
        if outputVolume is not None:
            mrml.check_output(inputVolume, outputVolume)
        scene = inputVolume.GetScene()

        start = time.perf_counter()
        volume = mrml.volume_from_node(inputVolume)
        seconds = {"read": time.perf_counter() - start}
        options = RefaceOptions(mode=mode, seed=seed, ears=ears, device=device)
        result = (self._refaceVolume or reface_volume)(
            volume, options, models=models, progress=progress, cancelled=cancelled
        )

        writing = time.perf_counter()
        outputVolume = self._showResult(scene, inputVolume, outputVolume, result)
        segmentation = self._showMask(scene, inputVolume, outputVolume, result)
        end = time.perf_counter()
        seconds.update(write=end - writing, total=end - start)

        warning = mrml.patient_tags_warning(scene, outputVolume)
        report = build_report(
            result,
            input=inputVolume.GetName(),
            output=outputVolume.GetName(),
            seconds=seconds,
            warnings=[warning] if warning else [],
        )
        for node in (outputVolume, segmentation):
            mrml.set_provenance(node, report)
        logging.info("Reface: %s -> %s in %.1f s", inputVolume.GetName(), outputVolume.GetName(), seconds["total"])
        return outputVolume, segmentation, report

    def _showResult(self, scene, inputVolume, outputVolume, result):
        if outputVolume is not None:
            mrml.update_result_volume(scene, inputVolume, outputVolume, result.stored)
            return outputVolume
        names = {"reface": _("{name} refaced"), "deface": _("{name} defaced"), "recover": _("{name} with a face")}
        return mrml.add_result_volume(
            scene, inputVolume, result.stored, names[result.mode].format(name=inputVolume.GetName())
        )

    def _showMask(self, scene, inputVolume, outputVolume, result):
        """A second run into the same output volume fills the same segmentation again."""
        name = _("{name} face mask").format(name=inputVolume.GetName())
        existing = outputVolume.GetNodeReference(MASK_REFERENCE_ROLE)
        segmentation = mrml.add_mask_segmentation(scene, inputVolume, result.mask, name, existing)
        outputVolume.SetNodeReferenceID(MASK_REFERENCE_ROLE, segmentation.GetID())
        return segmentation


class RefaceTest(ScriptedLoadableModuleTest):
    """Runs in the application (Reload and Test, or ctest); the tests of the parts are in Testing/Python."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_nodesOfAResult(self):
        """The logic puts a result into the scene, here from a stand-in for the networks."""
        import numpy as np

        from RefaceLib.pipeline import RefaceResult

        self.delayDisplay("A stand-in for the networks")
        voxels = np.arange(24 * 20 * 16, dtype=np.int16).reshape(16, 20, 24)
        inputVolume = slicer.util.addVolumeFromArray(voxels, name="Head")

        def zeroFront(volume, options, *, models=None, progress=None, cancelled=None):
            mask = np.zeros(volume.stored.shape, dtype=bool)
            mask[:, 12:, :] = True
            voxelsChanged = int(mask.sum())
            stored = np.where(mask, 0, volume.stored).astype(volume.stored.dtype)
            return RefaceResult(
                stored=stored,
                mask=mask,
                brain=~mask,
                landmarks={},
                warnings=(),
                seconds={},
                model={"name": "none", "version": "", "sha256": ""},
                device="cpu",
                mode=options.mode,
                seed=options.seed,
                ears=options.ears,
                counts={
                    "voxels_changed": voxelsChanged,
                    "voxels_changed_outside_mask": 0,
                    "brain_voxels_changed": 0,
                    "mask_voxels": voxelsChanged,
                    "mask_ml": voxelsChanged / 1000,
                },
            )

        output, segmentation, _report = RefaceLogic(refaceVolume=zeroFront).process(inputVolume, seed=7)
        result = slicer.util.arrayFromVolume(output)
        self.assertEqual(result.dtype, voxels.dtype)
        self.assertTrue((result[:, 12:, :] == 0).all())
        self.assertTrue((result[:, :12, :] == voxels[:, :12, :]).all())
        self.assertTrue((slicer.util.arrayFromVolume(inputVolume) == voxels).all())
        self.assertEqual(output.GetAttribute("Reface.Seed"), "7")
        segmentId = segmentation.GetSegmentation().GetNthSegmentID(0)
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segmentId, inputVolume)
        self.assertEqual(int(mask.sum()), 16 * 8 * 24)

    def test_realHead(self):
        """A real head, when PyTorch and the weights are there."""
        if importlib.util.find_spec("torch") is None:
            self.delayDisplay("Skipped: PyTorch is not installed")
            return
        from RefaceLib.pipeline import load_models

        try:
            models = load_models()
        except WeightsError as error:
            self.delayDisplay(f"Skipped: {error}")
            return
        import SampleData

        self.delayDisplay("A real head")
        inputVolume = SampleData.downloadSample("MRHead")
        try:
            output, _segmentation, report = RefaceLogic().process(inputVolume, models=models)
        except InputError as error:
            self.fail(str(error))
        before, after = slicer.util.arrayFromVolume(inputVolume), slicer.util.arrayFromVolume(output)
        self.assertEqual(int((before != after).sum()), report["voxels_changed"])
        self.assertGreater(report["voxels_changed"], 10000)
        self.assertEqual(report["brain_voxels_changed"], 0)
        self.assertEqual(report["voxels_changed_outside_mask"], 0)
