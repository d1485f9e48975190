"""Takes the person out of DICOM headers: the Basic Profile of PS3.15, annex E, with options.

What becomes of each attribute is the table E.1-1 in the edition of 2026c, as the package dicom-anonymizer of
KitwareMedical holds it, and so are the dummy values. Its own walk over a dataset stays at the top level, so that a name
in a nested sequence would survive; here every dataset is visited. What the table does not know is treated by its type.
"""

from __future__ import annotations

import datetime
import re
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import RefaceLib
from RefaceLib.common.errors import PromiseError
from RefaceLib.common.personal import EDITION
from RefaceLib.common.spelling import Spellings
from RefaceLib.dicom.terms import TERMS

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

ANONYMOUS = "ANONYMOUS"
_DICOM_ROOT = "1.2.840.10008."  # UIDs that the standard itself defines
_MOMENTS = ("DA", "TM", "DT")
_DUMMY = {"DA": "19000101", "TM": "000000", "DT": "19000101000000"}
_TEXT = ("LO", "SH", "ST", "LT", "UT", "UC", "PN", "AE", "UR", "CS")
_SHIFT_DAYS = (30, 3650)
_PATIENT = 0x0010  # the group of attributes that describe the patient
_UID = re.compile(r"\b[0-2](\.\d+){5,}")  # in a text: of the study, since a standard is told by name
_VENDORS = (
    "Siemens", "Philips", "GE", "Canon", "Toshiba", "Hitachi", "Fujifilm", "United Imaging", "UIH", "Bruker",
    "Hyperfine",
)  # fmt: skip
_OF_VENDORS = {
    *" ".join(_VENDORS).lower().split(),
    "medical",
    "systems",
    "healthcare",
    "healthineers",
    "health",
    "mr",
    "ag",
}
# The columns "Rtn. Dev. Id. Opt." of table E.1-1, as far as images have them.
_DEVICE = (
    "DeviceSerialNumber", "DeviceUID", "DeviceID", "DeviceLabel", "DeviceDescription", "StationName", "GantryID",
    "DetectorID", "PlateID", "CassetteID", "GeneratorID", "PerformedStationName", "PerformedStationAETitle",
    "ScheduledStationName", "ScheduledStationAETitle", "UDISequence", "UniqueDeviceIdentifier",
)  # fmt: skip
# Modules MR Pulse Sequence and Bulk Motion Synchronization: an enhanced MR image has them if it is ORIGINAL or MIXED.
_ORIGINAL_ONLY = (
    "PulseSequenceName", "MRAcquisitionType", "EchoPulseSequence", "MultipleSpinEcho", "MultiPlanarExcitation",
    "PhaseContrast", "VelocityEncodingAcquisitionSequence", "TimeOfFlightContrast", "ArterialSpinLabelingContrast",
    "SteadyStatePulseSequence", "EchoPlanarPulseSequence", "SaturationRecovery", "SpectrallySelectedSuppression",
    "OversamplingPhase", "GeometryOfKSpaceTraversal", "RectilinearPhaseEncodeReordering", "SegmentedKSpaceTraversal",
    "CoverageOfKSpace", "NumberOfKSpaceTrajectories", "BulkMotionCompensationTechnique",
)  # fmt: skip
_TEMPORAL = {"remove": "REMOVED", "shift": "MODIFIED", "keep": "UNMODIFIED"}


@dataclass(eq=False)
class Anonymiser:
    """Anonymises the datasets of one study: all get the same new UIDs, and dates shifted by the same days.

    ``dates``: one of options.DICOM_DATES. ``keep_device``: serial number and station of the scanner stay. ``subject``
    is the new name and ID of the patient. ``private`` counts the private elements that were removed by their creator,
    ``cleaned`` the texts that held a name or ID of the person, by their keyword.
    """

    dates: str = "remove"
    keep_device: bool = False
    subject: str = ANONYMOUS
    private: Counter[str] = field(default_factory=Counter)
    cleaned: Counter[str] = field(default_factory=Counter)
    _uids: dict[str, str] = field(default_factory=dict, repr=False)
    _days: int = field(default_factory=lambda: -secrets.choice(range(*_SHIFT_DAYS)), repr=False)
    _person: Spellings = field(default_factory=Spellings, repr=False)

    def learn(self, header: Dataset) -> None:
        """Remember the names and IDs of persons in a header, to find them in the texts of this and others."""
        _collect(header, self._person, dates=self.dates != "keep", device=not self.keep_device)

    def private_creators(self) -> dict[str, int]:
        """``private`` for a report that is published: a creator whose name tells who it is, is unknown."""
        told: Counter[str] = Counter()
        for creator, count in self.private.items():
            told["unknown" if self._person.found_in(creator) else creator] += count
        return dict(sorted(told.items()))

    def apply(self, dataset: Dataset) -> None:
        """Anonymise ``dataset`` in place; PromiseError where a UID, date or name of it would be left."""
        self.learn(dataset)
        kept = _DEVICE if self.keep_device else ()
        before = _old_uids(dataset, kept)
        self._visit(dataset)
        self.mark(dataset)
        left = before & _old_uids(dataset, kept)
        if left:
            raise PromiseError(
                f"The header was thrown away: {len(left)} UIDs of the input would stay; please report this."
            )

    def new_uid(self, old: str) -> str:
        """The UID that stands for ``old`` in all of the study; those that DICOM defines stay."""
        from pydicom.uid import generate_uid

        if not old or old.startswith(_DICOM_ROOT):
            return old
        if old not in self._uids:
            self._uids[old] = generate_uid(prefix=None)
        return self._uids[old]

    # ---- one dataset, and those within it ----

    def _visit(self, dataset: Dataset) -> None:
        from pydicom.datadict import dictionary_has_tag, repeater_has_tag

        for tag in list(dataset.keys()):
            element = dataset[tag]
            if tag.is_private:
                self._count_private(dataset, element)
            elif not (dictionary_has_tag(tag) or repeater_has_tag(tag)):
                self._remove_unknown(dataset, element)
            elif not self._act(dataset, element) and element.VR == "SQ":
                for item in element.value:
                    self._visit(item)
        for tag in [tag for tag in dataset.keys() if tag.is_private]:
            del dataset[tag]

    def _count_private(self, dataset: Dataset, element: DataElement) -> None:
        if not element.tag.is_private_creator:
            creator = dataset.get(element.tag.group << 16 | element.tag.element >> 8)
            self.private[str(creator.value) if creator is not None else "unknown"] += 1

    def _remove_unknown(self, dataset: Dataset, element: DataElement) -> None:
        """What the standard does not know may hold anything."""
        if element.tag.element:  # the length of a group is told to nobody
            self.cleaned[str(element.tag)] += 1
        del dataset[element.tag]

    def _act(self, dataset: Dataset, element: DataElement) -> bool:
        """Do with an element what the table or its type asks for; whether it is done with."""
        action = _table().get((element.tag.group, element.tag.element), "")
        if element.tag.group >> 8 == 0x60 or element.tag.group >> 8 == 0x50:
            action = "delete"  # overlays and curves: graphics over the image, and where these lie
        if self.keep_device and element.keyword in _DEVICE:
            return False
        if element.VR == "UI" and action != "delete":
            self._replace_uids(element)
        elif element.VR in _MOMENTS:
            self._change_moment(dataset, element, action)
        elif element.VR == "PN" or element.VR == "UN" or action:
            return _replace(dataset, element, action or ("empty" if element.VR == "PN" else "delete"))
        elif element.VR in _TEXT and element.keyword != "SpecificCharacterSet":
            self._clean(dataset, element)
        return element.VR != "SQ"

    def _clean(self, dataset: Dataset, element: DataElement) -> None:
        """Take out a text or code that tells who it is. A term of the standard, and a vendor, tell nobody."""
        values = [str(value) for value in element.value] if element.VM > 1 else [str(element.value)]
        if element.VR == "CS":
            left = [value for value in values if value in TERMS or not self._person.found_in(value)]
        else:
            left = [] if self._person.found_in(" ".join(values)) or _UID.search(" ".join(values)) else values
        if left == values:
            return
        if element.keyword == "Manufacturer":
            left = [vendor for vendor in _VENDORS if re.search(rf"\b{vendor}\b", values[0], re.IGNORECASE)][:1] or [""]
            if left[0] and set(values[0].lower().split()) <= _OF_VENDORS:
                return
        self.cleaned[element.keyword] += 1
        if left:
            element.value = left if len(left) > 1 else left[0]
        else:
            del dataset[element.tag]

    def _replace_uids(self, element: DataElement) -> None:
        if element.VM > 1:
            element.value = [self.new_uid(str(uid)) for uid in element.value]
        elif not element.is_empty:
            element.value = self.new_uid(str(element.value))

    def _change_moment(self, dataset: Dataset, element: DataElement, action: str) -> None:
        """Dates and times: kept, shifted by whole days, or removed, where the standard needs them by a dummy."""
        retained = element.tag.group != _PATIENT  # a birth date is no date of an examination
        if self.dates == "keep" and retained:
            return
        if self.dates == "shift" and retained and element.VR != "DA" and element.VR != "DT":
            return  # the time of day stays
        if self.dates == "shift" and retained and not element.is_empty:
            element.value = _each(element, self._shifted)
        elif action in ("replace", "empty_or_replace"):
            element.value = _DUMMY[element.VR]
        elif action in ("empty", "delete_or_empty"):
            element.value = ""
        else:
            del dataset[element.tag]

    def _shifted(self, moment: str) -> str:
        """A date (or a date and time) as DICOM writes it, some days earlier; a dummy where it cannot be read."""
        digits = re.fullmatch(r"(\d{4})\.?(\d\d)\.?(\d\d)(.*)", moment.strip())
        try:
            year, month, day = (int(part) for part in digits.groups()[:3]) if digits else (0, 0, 0)
            shifted = datetime.date(year, month, day) + datetime.timedelta(days=self._days)
        except (ValueError, OverflowError):
            return _DUMMY["DA"]
        return f"{shifted:%Y%m%d}{digits[4] if digits else ''}"

    # ---- what was done ----

    def _profile(self) -> list[str]:
        """The profile and its options, by the names of the codes in context group 7050."""
        dates = {"keep": "FullDates", "shift": "ModifiedDates"}.get(self.dates)
        return [
            "BasicApplicationConfidentialityProfile",
            "CleanRecognizableVisualFeaturesOption",
            *([f"RetainLongitudinalTemporalInformation{dates}Option"] if dates else []),
            *(["RetainDeviceIdentityOption"] if self.keep_device else []),
        ]

    def mark(self, dataset: Dataset) -> None:
        """Say in the header that the person was taken out, by what profile, and by whom."""
        dataset.PatientName = dataset.PatientID = self.subject
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = (
            f"Reface {RefaceLib.__version__}: PS3.15 Basic Profile, face removed or replaced"
        )
        dataset.DeidentificationMethodCodeSequence = [_code(name) for name in self._profile()]
        dataset.LongitudinalTemporalInformationModified = _TEMPORAL[self.dates]
        dataset.BurnedInAnnotation = "NO"
        dataset.RecognizableVisualFeatures = "NO"
        dataset.ImageType = _derived(dataset.get("ImageType"))
        frame_types = _frame_types(dataset)
        for item in frame_types:
            item.FrameType = _derived(item.get("FrameType"))
        if frame_types and dataset.get("Modality") == "MR":
            _move_original_only(dataset)
        dataset.ContributingEquipmentSequence = [
            *dataset.get("ContributingEquipmentSequence", []), _equipment(),
        ]  # fmt: skip


def _code(name: str) -> Dataset:
    """The code of the DICOM terminology with that name, as an item of a sequence."""
    from pydicom import Dataset
    from pydicom.sr.codedict import codes

    code, item = getattr(codes.DCM, name), Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def _equipment() -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [_code("DeIdentifyingEquipment")]
    item.Manufacturer = "The Reface developers"
    # No model and no version of software, which are optional: dcm2niix would take them for those of the scanner.
    item.ContributionDescription = f"Reface {RefaceLib.__version__}: face replaced or removed, header de-identified"
    return item


def _derived(types: Iterable[str] | str | None) -> list[str]:
    """The image type of an image whose pixels were changed."""
    values = [types] if isinstance(types, str) else list(types or [])
    return ["DERIVED", *(values[1:] or ["PRIMARY"])]


def _move_original_only(dataset: Dataset) -> None:
    """Move what an image that is DERIVED may not say of its acquisition to where attributes without a place go.

    This functional group is meant for images that were converted from classic ones; readers find the attributes there.
    """
    from pydicom import Dataset

    kept = Dataset()
    for name in _ORIGINAL_ONLY:
        if name in dataset:
            kept.add(dataset[name])
            del dataset[name]
    shared = dataset.get("SharedFunctionalGroupsSequence")
    if len(kept) and shared:
        items = shared[0].get("UnassignedSharedConvertedAttributesSequence") or [Dataset()]
        items[0].update(kept)
        shared[0].UnassignedSharedConvertedAttributesSequence = items


def _frame_types(dataset: Dataset) -> list[Dataset]:
    """The items of an enhanced multi-frame object that hold a frame type."""
    groups = [*dataset.get("SharedFunctionalGroupsSequence", []), *dataset.get("PerFrameFunctionalGroupsSequence", [])]
    names = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")
    return [item for group in groups for name in names for item in group.get(name, [])]


# ---- the table ----


@cache
def _table() -> dict[tuple[int, int], str]:
    """What table E.1-1 says of a tag (group, element), by the names of dicom-anonymizer: delete, empty, replace, ..."""
    from dicomanonymizer.simpledicomanonymizer import initialize_actions

    return {tag: action.__name__ for tag, action in initialize_actions(EDITION).items() if len(tag) == 2}


def _replace(dataset: Dataset, element: DataElement, action: str) -> bool:
    """Delete, empty or replace an element; False where what is in it is to be visited instead."""
    from dicomanonymizer import simpledicomanonymizer as actions

    if action == "delete_or_empty_or_replace_UID" and element.VR == "SQ":
        return False  # references to other images, by new UIDs
    optional = element.VR == "SQ" and action.startswith("delete") and element.keyword != "AcquisitionContextSequence"
    if action == "delete" or optional:
        del dataset[element.tag]
    elif action in ("empty", "delete_or_empty") or element.VR == "PN":
        element.value = [] if element.VR == "SQ" else None
    else:
        try:
            actions.replace_element(element)
        except NotImplementedError:  # a kind of value without a dummy
            del dataset[element.tag]
    return True


def _each(element: DataElement, change: Callable[[str], str]) -> list[str] | str:
    if element.VM > 1:
        return [change(str(value)) for value in element.value]
    return change(str(element.value))


# ---- what tells who it is ----

_IDENTIFYING = (
    "PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "InstitutionName", "InstitutionAddress",
    "InstitutionalDepartmentName", "IssuerOfPatientID", "PatientAddress", "PatientTelephoneNumbers", "AdmissionID",
    "MedicalRecordLocator", "RequestedProcedureID", "ScheduledProcedureStepID", "PerformedProcedureStepID",
    "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest", "ServiceEpisodeID",
)  # fmt: skip
_SCANNER = ("DeviceSerialNumber", "StationName")
_NAMING = ("PN", "DA", "DT")  # kinds of values that tell who it is, wherever they stand
_PEOPLE = (
    "RequestAttributesSequence", "OtherPatientIDsSequence", "ReferringPhysicianIdentificationSequence",
    "PerformingPhysicianIdentificationSequence", "OperatorIdentificationSequence",
)  # fmt: skip


@cache
def telling_keywords() -> tuple[str, ...]:
    """The attributes of a file from which an Anonymiser learns, at the top level of its header."""
    from pydicom.datadict import DicomDictionary

    names = (entry[4] for entry in DicomDictionary.values() if entry[0] in _NAMING and entry[4])
    return (*names, *_IDENTIFYING, *_SCANNER, *_PEOPLE)


def _collect(header: Dataset, person: Spellings, *, dates: bool, device: bool) -> None:
    """Add the names, IDs and dates of a header to what tells who a ``person`` is.

    A birth date is one of the ``dates`` always, the number of the scanner an ID with ``device``.
    """
    for element in header.iterall():
        if element.tag.is_private or element.is_empty or element.VR not in (*_TEXT, *_NAMING):
            continue
        values = _each(element, str)
        texts = [values] if isinstance(values, str) else values
        if element.VR == "PN":
            person.add_names(texts)
        elif element.keyword in _IDENTIFYING or (device and element.keyword in _SCANNER):
            person.add_codes(texts)
        elif element.VR in _NAMING and (dates or element.tag.group == _PATIENT):
            person.add_dates(texts)
    person.forget(ANONYMOUS)


def _old_uids(dataset: Dataset, kept: Collection[str]) -> set[str]:
    """The UIDs in a dataset that DICOM does not define, without those of the attributes ``kept``."""
    found: set[str] = set()
    for element in dataset.iterall():
        if element.VR == "UI" and not element.tag.is_private and element.keyword not in kept:
            values = element.value if element.VM > 1 else [element.value]
            found |= {str(uid) for uid in values if uid and not str(uid).startswith(_DICOM_ROOT)}
    return found
