"""Which fields of JSON files are left out: those that name a person, a site or an examination, at any depth."""

from __future__ import annotations

import pytest

from RefaceLib.common.personal import personal_fields, without_personal

NEEDED = {
    "SliceTiming": [0, 0.5], "RepetitionTime": 2.0, "EchoTime": 0.003, "Manufacturer": "Siemens",
    "ManufacturersModelName": "Prisma", "MagneticFieldStrength": 3, "ProtocolName": "t1_mprage", "TimeZero": "00:00:00",
    "PatientPosition": "HFS", "ScanningSequence": "GR", "CerebrospinalFluid": "dark", "SoftwareVersions": "VE11",
    "ContrastBolusAgent": "gadobutrol",
}  # fmt: skip


@pytest.mark.parametrize(
    "key",
    """PatientName PatientID PatientAge PatientSex PatientWeight PatientSize PatientBirthDate PatientsName patient_name
    PATIENTID OtherPatientIDs AcquisitionDate AcquisitionTime AcquisitionDateTime StudyDate SeriesTime ContentDate
    StudyDescription SeriesDescription ProcedureStepDescription ImageComments PatientComments OperatorsName
    ReferringPhysicianName ReferringPhysiciansName RequestingPhysician StudyID AccessionNumber StudyInstanceUID
    SOPInstanceUIDs seriesinstanceuid FrameOfReferenceUID StationName DeviceSerialNumber InstitutionName
    InstitutionAddress InstitutionalDepartmentName ScanDate 00100010 global.const.PatientName 0x00100010 x00100010
    (0010,0010) 0010|0010 0x0010,0x0010 x0008103e PatientName_0 PatientName[0] dicom:PatientName DICOM_PatientName
    PatientName.Alphabetic tPatientName flUsedPatientWeight acq_time StudyInstanceUID_0 Operator""".split(),
)
def test_a_personal_field_is_left_out_at_any_depth(key):
    found = {**NEEDED, key: "x", "global": {"const": {key: "x", "FlipAngle": 9}}, "list": [[{key: ["x"]}, 3]]}
    assert without_personal(found) == {**NEEDED, "global": {"const": {"FlipAngle": 9}}, "list": [[{}, 3]]}
    assert personal_fields(found) == [key]


def test_the_blocks_of_dcmstack_stay_without_dates_and_names():
    slices = {"AcquisitionDate": ["20190304"] * 2, "SliceLocation": [1, 2]}
    found = {"global": {"slices": slices}, "time": {"samples": {"AcquisitionTime": [1.0], "EchoNumbers": [1]}}}
    assert without_personal(found) == {
        "global": {"slices": {"SliceLocation": [1, 2]}},
        "time": {"samples": {"EchoNumbers": [1]}},
    }


def test_what_describes_a_column_of_a_table_stays():
    columns = {"occupation": {"Description": "by ISCO-08"}, "patient_sex": {"Levels": {"F": "female"}}}
    assert without_personal(columns, columns=True) == columns
    assert without_personal(columns) == {}


@pytest.mark.parametrize(
    "value", [{"Alphabetic": "Meier^Anna"}, {"Description": "a name", "Value": "Meier^Anna"}, {}, "Meier^Anna"]
)
@pytest.mark.parametrize("columns", [False, True])
def test_what_holds_a_value_describes_no_column(value, columns):
    assert without_personal({"PatientName": value}, columns) == {}
    assert without_personal({"x": {"PatientName": {"Description": "Meier^Anna"}}}, columns) == {"x": {}}
