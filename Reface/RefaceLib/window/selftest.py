"""What the module tests of itself in the application: the sample head goes through it."""

from __future__ import annotations

import dataclasses
from typing import Any
from unittest import mock

import numpy as np
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from RefaceLib.window import mrml, sampledata


class SelfTest(ScriptedLoadableModuleTest):
    """The promises on the sample head, in the application.

    The tests of the parts, and those with stand-ins, are in Testing/Python and need no application.
    """

    logic: Any  # the class of the module's logic

    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_sampleHead(self):
        """Promises 1 and 2 on the arrays in the scene, and that the same seed gives the same face."""
        self.delayDisplay("Loading the sample head")
        volume = sampledata.download()[0]
        before = slicer.util.arrayFromVolume(volume).copy()
        self.delayDisplay("A new face")
        result = self.logic().process(volume, seed=1)
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
        again = self.logic().process(volume, seed=1)
        self.assertTrue(np.array_equal(slicer.util.arrayFromVolume(again.volume), after))

    def test_newFaceDoesNotKnowTheOldOne(self):
        """Promise 3, on the sample head: with a mask that is given, noise in place of the face changes no bit."""
        from RefaceLib import pipeline

        self.delayDisplay("A head, and the same head with noise in place of the face")
        head = mrml.volume_from_node(sampledata.download()[0])
        options = pipeline.RefaceOptions(seed=1)
        expected = pipeline.reface_volume(head, options)
        noise = head.stored.copy(order="K")  # in another order of memory, sums round otherwise
        noise[expected.mask] = np.random.default_rng(5).permutation(noise[expected.mask])
        parse, parses = pipeline.parse_head, []

        def parseOnceOfTheOriginal(values, *rest):
            parses.append(values)  # the first is for the mask, and that is given
            return parse(head.values() if len(parses) == 1 else values, *rest)

        with mock.patch.object(pipeline, "parse_head", parseOnceOfTheOriginal):
            result = pipeline.reface_volume(dataclasses.replace(head, stored=noise), options)
        self.assertTrue(np.array_equal(result.mask, expected.mask))
        self.assertTrue(np.array_equal(result.stored, expected.stored))
