"""What the window does with the volumes of a person: the table, what is added to it, and a change of the input."""

from __future__ import annotations

from typing import Any

from RefaceLib.common.options import FOUND
from RefaceLib.window import job, person, results
from RefaceLib.window.parameters import Mode
from RefaceLib.window.persontable import PersonTable


class PersonPanel:
    """Keeps the table and the parameters alike; `show` is called whenever one of both may have changed.

    :param table: QTableWidget, see PersonTable
    :param addSelector: qMRMLNodeComboBox, from which the user takes further volumes
    :param allButton: QPushButton that ticks all volumes of the table
    :param panel: RunPanel, which knows what is worked on
    """

    def __init__(self, table: Any, addSelector: Any, allButton: Any, panel: Any):
        self._panel, self._addSelector = panel, addSelector
        self._table = PersonTable(table, self._ticked, self._chosen)
        self._said = person.Said()
        self._parameters: Any = None
        self._input: Any = None
        self._ran: Any = None  # the input of the last run
        addSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._added)
        allButton.connect("clicked()", self._tickAll)

    def show(self, parameters: Any) -> None:
        """Show the volumes of these parameters (None: no volume)."""
        if parameters is None:
            self._parameters = self._input = self._ran = None
            self._table.show([])
            return
        former, self._parameters = self._parameters, parameters
        if former is None or former.parameterNode is not parameters.parameterNode:
            self._input = parameters.inputVolume
            result = parameters.resultVolume
            self._ran = result.GetNodeReference(results.INPUT_ROLE) if result is not None else None
        elif parameters.inputVolume is not self._input:
            self._inputChanged()
        self._table.show(self._rows())

    def choose(self, volumes: list[Any]) -> None:
        """Make the best of these volumes for a face the input, and tick all others."""
        best = person.best_for_face(volumes)
        if best is not None:
            self._parameters.inputVolume = best
            self._parameters.otherVolumes = [volume for volume in volumes if volume is not best]

    def started(self, volumes: list[Any]) -> None:
        """A run with these volumes, the input first, has begun or waits."""
        self._ran = volumes[0]
        self._said.forget(volumes)
        self.refresh()

    def told(self, volume: Any, stage: str) -> None:
        """The run of an input has come to a stage, which may be that something was found in it."""
        if stage in FOUND.values():
            self._said.found[volume.GetID()] = job.stage_title(stage)
            self.refresh()

    def failed(self, volume: Any, sentence: str) -> None:
        """Why a volume has no result."""
        self._said.failed[volume.GetID()] = sentence
        self.refresh()

    def forget(self) -> None:
        """The scene is being closed: nothing is known of the volumes of the next one."""
        self._said = person.Said()

    def refresh(self) -> None:
        self.show(self._parameters)

    @property
    def volumes(self) -> list[Any]:
        """The volumes of the next run: the input, and what is ticked; a volume that was removed is none of them."""
        volumes = (self._parameters.inputVolume, *self._parameters.otherVolumes)
        return [volume for volume in volumes if volume is not None and volume.GetScene() is not None]

    def _rows(self) -> list[person.Row]:
        if self._input is None:
            return []
        return person.table_rows(self.volumes, self._parameters.mode, self._panel.turn, self._said)

    def _inputChanged(self) -> None:
        """What belongs to the former input goes: ticks of another person, its result and where that went, and a mode.

        Reface and Recover say what an input is; Deface only says what is wanted, and stays.
        """
        former, self._input = self._input, self._parameters.inputVolume
        if self._input is None:
            return
        self._parameters.otherVolumes = person.others_kept(former, self._input, self.volumes[1:])
        self._parameters.resultVolume = person.result_of(self._input)
        if self._ran is None or self._ran is self._input:
            return
        self._parameters.outputVolume = self._parameters.maskSegmentation = None
        if self._parameters.mode in (Mode.REFACE, Mode.RECOVER):
            self._parameters.mode = Mode.AUTO

    def _ticked(self, volumes: list[Any]) -> None:
        self._parameters.otherVolumes = volumes

    def _chosen(self, volume: Any) -> None:
        """The result of the row that the user goes to is the one that is compared and saved."""
        result = person.result_of(volume)
        if result is not None:
            self._parameters.resultVolume = result

    def _added(self, node: Any) -> None:
        if node is None:
            return
        if self._input is not None and node not in self.volumes:
            self._parameters.otherVolumes = [*self.volumes[1:], node]
        self._addSelector.setCurrentNode(None)

    def _tickAll(self) -> None:
        if self._parameters is not None:
            self._parameters.otherVolumes = [row.volume for row in self._rows() if not row.first]
