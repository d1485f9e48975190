"""`reface image`: many heads, default names, what is never overwritten, sidecars, private reports, what is told."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from helpers.commandline import contents, names, one_sentence, raising
from helpers.reface.commands import *  # noqa: F403
from helpers.reface.commands import PROGRAM, report_of
from RefaceLib.commandline import cli
from RefaceLib.common.errors import HeadNotFoundError, OtherHeadError
from RefaceLib.pipeline import RefaceResult
from RefaceLib.volume.io import read_volume


def sha(path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


# ---- names ----


@pytest.mark.parametrize(
    ("mode", "ending"), [("reface", "_refaced"), ("deface", "_defaced"), ("recover", "_recovered")]
)
def test_an_output_without_a_name_is_named_after_the_mode(folder, mode, ending):
    before = names(folder)
    assert cli.main(["image", "t1.nii.gz", "--mode", mode]) == 0
    assert names(folder) - before == {f"t1{ending}.nii.gz", f"t1{ending}_reface.json"}


def test_many_heads_go_into_a_folder_that_is_made(folder, capsys):
    before = contents(folder)
    assert cli.main(["image", "t1.nii.gz", "t2.nii.gz", "--out-dir", "new"]) == 0
    made = {f"t{number}_refaced{ending}" for number in (1, 2) for ending in (".nii.gz", "_reface.json")}
    assert names(folder / "new") == made
    assert {path: content for path, content in contents(folder).items() if path in before} == before
    said = capsys.readouterr()
    assert said.out.count("Wrote ") == 2 and said.out.count("\n") == 4 and "reface: t2.nii.gz: generate" in said.err
    seeds = [json.loads((folder / "new" / f"t{n}_refaced_reface.json").read_text())["seed"] for n in (1, 2)]
    assert seeds[0] != seeds[1]


def test_three_names_are_three_inputs(folder):
    shutil.copy("t1.nii.gz", "t3.nii.gz")
    before = names(folder)
    assert cli.main(["image", "t1.nii.gz", "t2.nii.gz", "t3.nii.gz", "--seed", "4"]) == 0
    made = names(folder) - before
    assert {name for name in made if name.endswith(".gz")} == {f"t{number}_refaced.nii.gz" for number in (1, 2, 3)}
    assert {report_of(f"t{number}_refaced")["seed"] for number in (1, 2, 3)} == {4}


def test_a_head_that_fails_does_not_stop_the_others(folder, pipeline, capsys):
    shutil.copy("t1.nii.gz", "t3.nii.gz")
    (folder / "bad.nii.gz").write_bytes(b"no image")
    calls = iter([None, HeadNotFoundError("The volume holds no head."), MemoryError()])

    def step():
        if error := next(calls):
            raising(error)()

    pipeline.step = step
    inputs = ["t1.nii.gz", "missing.nii.gz", "t2.nii.gz", "bad.nii.gz", "t3.nii.gz"]
    assert cli.main(["image", *inputs, "--out-dir", "new", "--private-report", "p.json", "-q"]) == 2
    assert names(folder / "new") == {"t1_refaced.nii.gz", "t1_refaced_reface.json"}
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert said.out == "" and lines[0].startswith("reface: missing.nii.gz does not exist")
    assert lines[1] == "reface: t2.nii.gz: The volume holds no head."
    assert lines[2].startswith("reface: bad.nii.gz") and "not enough memory" in lines[3]
    assert lines[4].startswith("reface: 4 of 5 heads were not refaced") and len(lines) == 5
    (head,) = json.loads((folder / "p.json").read_text())["heads"]
    assert head["volumes"][0]["input"].endswith("t1.nii.gz")


def test_when_all_heads_fail_no_folder_is_left(folder, pipeline):
    pipeline.step = raising(HeadNotFoundError("The volume holds no head."))
    before = names(folder)
    assert cli.main(["image", "t1.nii.gz", "--out-dir", "new"]) == 2
    assert names(folder) == before


def test_stopping_many_heads_tells_how_many_were_written(folder, pipeline, capsys):
    calls = iter([False, True])
    pipeline.step = lambda: raising(KeyboardInterrupt())() if next(calls) else None
    assert cli.main(["image", "t1.nii.gz", "t2.nii.gz", "--out-dir", "new", "-q"]) == 130
    assert capsys.readouterr().err == "reface: stopped; 1 of 2 heads were written\n"
    assert names(folder / "new") == {"t1_refaced.nii.gz", "t1_refaced_reface.json"}


def test_programs_are_told_of_every_head(folder, pipeline, capsys):
    assert cli.main(["image", "t1.nii.gz", "t2.nii.gz", "--out-dir", "new", "--progress", "json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    fractions = [record["progress"] for record in records[:-1]]
    assert fractions == sorted(fractions) and fractions[-1] == 1
    assert records[-1]["done"] and [Path(path).name for path in records[-1]["reports"]] == [
        "t1_refaced_reface.json",
        "t2_refaced_reface.json",
    ]
    assert records[-1]["warnings"][0] == "t1.nii.gz: The chin is outside the field of view."


# ---- what is never overwritten ----


def test_two_subjects_are_not_an_input_and_an_output(folder, capsys):
    before = contents(folder)
    assert cli.main(["image", "t1.nii.gz", "t2.nii.gz", "--overwrite"]) == 2
    assert contents(folder) == before and "--out-dir" in capsys.readouterr().err


def test_an_output_of_ours_is_replaced_and_one_that_was_edited_is_kept(folder, capsys):
    everything = ["image", "t1.nii.gz", "out.nii.gz", "--mask-out", "m.nii.gz", "--picture", "p.png", "--report"]
    everything += ["r.json", "--apply-to", "t2.nii.gz", "t2out.nii.gz", "--private-report", "private.json"]
    assert cli.main([*everything, "--seed", "1"]) == 0
    assert cli.main([*everything, "--seed", "2", "--overwrite"]) == 0
    for name in ("out.nii.gz", "m.nii.gz", "p.png", "t2out.nii.gz"):
        kept = (folder / name).read_bytes()
        (folder / name).write_bytes(kept + b"\0")
        before = contents(folder)
        assert cli.main([*everything, "--overwrite"]) == 2
        assert contents(folder) == before and name in capsys.readouterr().err
        (folder / name).write_bytes(kept)
    assert cli.main([*everything, "--overwrite"]) == 0


def test_a_scan_that_appears_during_the_work_is_kept(folder, pipeline):
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz"]) == 0
    pipeline.step = lambda: shutil.copy("t2.nii.gz", "out.nii.gz")
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--overwrite"]) == 2
    assert sha("out.nii.gz") == sha("t2.nii.gz")


# ---- what may be published ----


def test_the_report_says_nothing_of_the_input(folder, pipeline):
    subject = folder / "Meier_Anna"
    subject.mkdir()
    for name in ("t1", "t2"):
        shutil.copy(f"{name}.nii.gz", subject / f"anna_{name}.nii.gz")
    source, other = subject / "anna_t1.nii.gz", subject / "anna_t2.nii.gz"
    pipeline.warnings = (f"{source} is odd, and anna_t2.nii.gz too.",)
    arguments = ["image", source, subject / "sub-01_T1w.nii.gz", "--mask-out", subject / "sub-01_mask.nii.gz"]
    arguments += ["--apply-to", other, subject / "sub-01_T2w.nii.gz", "--private-report", folder / "private.json"]
    assert cli.main([str(argument) for argument in arguments]) == 0
    for name in ("sub-01_T1w", "sub-01_T2w"):
        text = (subject / f"{name}_reface.json").read_text()
        assert "nna" not in text and str(folder) not in text and sha(source) not in text and sha(other) not in text
    report = json.loads((subject / "sub-01_T1w_reface.json").read_text())
    assert report["output"] == "sub-01_T1w.nii.gz" and report["warnings"] == ["the input is odd, and the input too."]
    private = json.loads((folder / "private.json").read_text())
    (head,) = private["heads"]
    assert [volume["input"] for volume in head["volumes"]] == [str(source), str(other)]
    assert [volume["input_sha256"] for volume in head["volumes"]] == [sha(source), sha(other)]
    assert [volume["output_sha256"] for volume in head["volumes"]] == [
        sha(subject / "sub-01_T1w.nii.gz"),
        sha(subject / "sub-01_T2w.nii.gz"),
    ]


def test_defacing_has_no_seed(folder, capsys):
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--mode", "deface"]) == 0
    assert "seed" not in report_of("out") and "seed" not in capsys.readouterr().out


def test_the_private_report_of_many_heads_has_all_of_them(folder):
    arguments = ["image", "t1.nii.gz", "t2.nii.gz", "--out-dir", "new", "--private-report", "p.json"]
    assert cli.main(arguments) == 0
    assert cli.main([*arguments, "--overwrite"]) == 0
    heads = json.loads((folder / "p.json").read_text())["heads"]
    assert [Path(head["volumes"][0]["output"]).name for head in heads] == ["t1_refaced.nii.gz", "t2_refaced.nii.gz"]
    assert [head["volumes"][0]["input_sha256"] for head in heads] == [sha("t1.nii.gz"), sha("t2.nii.gz")]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_the_private_report_can_be_read_by_nobody_else(folder):
    arguments = ["image", "t1.nii.gz", "t2.nii.gz", "--out-dir", "new", "--private-report", "p.json", "--overwrite"]
    for _ in range(2):
        assert cli.main(arguments) == 0
        assert (folder / "p.json").stat().st_mode & 0o777 == 0o600
        (folder / "p.json").chmod(0o644)


# ---- sidecars ----

SIDECAR = {"RepetitionTime": 2.3, "PatientName": "Meier^Anna", "EchoTime": 0.00298, "Modality": "MR"}
CODE = {
    "CodeValue": "113102",
    "CodingSchemeDesignator": "DCM",
    "CodeMeaning": "Clean Recognizable Visual Features Option",
}


def test_a_bids_sidecar_goes_with_the_output_and_says_what_was_done(folder, capsys):
    (folder / "t1.json").write_text(json.dumps(SIDECAR))
    (folder / "t2.json").write_text(json.dumps({"DeidentificationMethod": ["names"], "EchoTime": 0.1}))
    before = contents(folder)
    arguments = ["image", "t1.nii.gz", "--apply-to", "t2.nii.gz", "t2_defaced.nii.gz"]
    assert cli.main(arguments) == 0
    carried = json.loads((folder / "t1_refaced.json").read_text())
    (method,) = carried.pop("DeidentificationMethod")
    assert "face replaced" in method and carried.pop("DeidentificationMethodCodeSequence") == [CODE]
    assert carried == {key: value for key, value in SIDECAR.items() if key != "PatientName"}
    assert "left out: PatientName" in capsys.readouterr().err
    other = json.loads((folder / "t2_defaced.json").read_text())
    assert other["DeidentificationMethod"][0] == "names" and "face removed" in other["DeidentificationMethod"][1]
    listed = {entry["name"]: entry["sha256"] for entry in report_of("t1_refaced")["also_written"]}
    assert listed["t1_refaced.json"] == sha("t1_refaced.json")
    assert "Meier" not in json.dumps(report_of("t1_refaced"))
    assert {path: content for path, content in contents(folder).items() if path in before} == before
    assert cli.main([*arguments, "--overwrite"]) == 0  # both sidecars are ours


def test_a_sidecar_that_is_there_already_is_kept(folder, capsys):
    for name in ("t1.json", "out.json"):
        (folder / name).write_text(json.dumps(SIDECAR))
    before = contents(folder)
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--overwrite"]) == 2
    assert contents(folder) == before and "out.json" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[1, 2]", "no json", '{"reface_version": "1"}'])
def test_what_is_no_sidecar_is_not_carried_over(folder, text):
    (folder / "t1.json").write_text(text)
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz"]) == 0
    assert not (folder / "out.json").exists()


# ---- what is told ----


def test_a_companions_warnings_are_told_with_its_name(folder, monkeypatch, capsys):
    def read(path, **options):
        volume = read_volume(path, **options)
        return type(volume)(volume.stored, volume.affine, source=volume.source, warnings=("It is odd.",))

    monkeypatch.setattr("RefaceLib.commandline.writing.read_volume", read)
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--apply-to", "t2.nii.gz", "t2out.nii.gz"]) == 0
    assert "reface: warning: t2.nii.gz: It is odd.\n" in capsys.readouterr().err
    assert report_of("t2out")["warnings"] == ["It is odd."]


def test_quiet_tells_nothing(folder, capsys):
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "-q"]) == 0
    assert capsys.readouterr() == ("", "")


def test_verbose_tells_the_seconds_of_stages_and_every_file(folder, capsys):
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--mask-out", "m.nii.gz", "-v"]) == 0
    said = capsys.readouterr()
    stages = [line.split(", ")[0] for line in said.err.splitlines() if line.endswith(" s")]
    assert stages == ["reface: read", "reface: generate", "reface: write"]
    assert [line.strip() for line in said.out.splitlines()[2:]] == ["out.nii.gz", "m.nii.gz", "out_reface.json"]


def test_tissue_is_told_and_not_air(folder, capsys):
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--seed", "1"]) == 0
    assert "New face of seed 1 in place of 60 ml of tissue" in capsys.readouterr().out


# ---- companions, each for itself ----


def refusing(error):
    def deface_companion(*_arguments):
        raise error

    return deface_companion


def test_a_companion_that_is_refused_ends_the_run_and_each_for_itself_it_is_left_out(folder, monkeypatch, capsys):
    before = names(folder)
    refused = refusing(HeadNotFoundError("No head was found in t2.nii.gz."))
    monkeypatch.setattr("RefaceLib.companion.deface_companion", refused)
    arguments = ["image", "t1.nii.gz", "out.nii.gz", "--apply-masks", "--apply-to", "t2.nii.gz", "t2out.nii.gz"]
    assert cli.main(arguments) == 2 and names(folder) == before
    capsys.readouterr()
    assert cli.main([*arguments, "--apply-each", "--private-report", "private.json"]) == 0
    assert names(folder) - before == {"out.nii.gz", "out_reface.json", "t2out_reface.json", "private.json"}
    report = report_of("t2out")
    assert (report["mode"], report["error"], report["output_sha256"]) == (
        "apply-to",
        "No head was found in the input.",
        None,
    )
    assert "reface: warning: t2.nii.gz: No head was found" in capsys.readouterr().err
    (head,) = json.loads((folder / "private.json").read_text())["heads"]
    assert len(head["volumes"]) == 1


def test_an_earlier_output_of_a_companion_that_is_refused_ends_the_run(folder, monkeypatch, capsys):
    """It would stay under its name as if it were of this run."""
    arguments = ["image", "t1.nii.gz", "out.nii.gz", "--apply-to", "t2.nii.gz", "t2out.nii.gz", "--apply-each"]
    assert cli.main(arguments) == 0
    before = {name: (folder / name).read_bytes() for name in names(folder)}
    refused = refusing(HeadNotFoundError("No head was found in t2.nii.gz."))
    monkeypatch.setattr("RefaceLib.companion.deface_companion", refused)
    assert cli.main([*arguments, "--overwrite"]) == 2
    assert {name: (folder / name).read_bytes() for name in names(folder)} == before


def test_an_output_of_a_companion_in_another_format_is_refused_alone(folder, capsys):
    arguments = ["image", "t1.nii.gz", "out.nii.gz", "--apply-to", "t2.nii.gz", "t2out.nrrd", "--apply-each"]
    assert cli.main(arguments) == 0
    assert not (folder / "t2out.nrrd").exists() and "another format" in report_of("t2out")["error"]


def test_a_companion_whose_brain_does_not_match_is_defaced_by_itself_where_each_is(folder, monkeypatch, pipeline):
    monkeypatch.setattr("RefaceLib.companion.deface_companion", refusing(OtherHeadError("Another head.")))

    def alone(volume, options, models, _cancelled=None):
        assert options.ears and options.device == "cpu"
        return RefaceResult(**vars(pipeline.reface_volume(volume, options)), parse=None)

    monkeypatch.setattr("RefaceLib.session.deface_alone", alone)
    arguments = ["image", "t1.nii.gz", "out.nii.gz", "--device", "cpu", "--apply-to", "t2.nii.gz", "t2out.nii.gz"]
    assert cli.main(arguments) == 2
    assert cli.main([*arguments, "--apply-each"]) == 0
    report = report_of("t2out")
    assert report["mode"] == "apply-to" and report["mask_from"] is None and report["registered_mm"] is None
    assert any("defaced by itself" in warning for warning in report["warnings"])
    assert report["brain_voxels_changed"] == 0 and report["face_removed"] == {"nose": 1.0}


# ---- several faces of a head ----


def test_several_faces_have_seeds_that_follow_each_other_and_numbered_names(folder, capsys):
    before = names(folder)
    arguments = ["image", "t1.nii.gz", "out.nii.gz", "--seed", "8", "--faces", "3", "--picture", "p.png"]
    assert cli.main([*arguments, "--mask-out", "m.nii.gz", "--apply-to", "t2.nii.gz", "t2out.nii.gz"]) == 0
    own = {f"{name}-{n}{ending}" for n in (1, 2, 3) for name, ending in (("out", ".nii.gz"), ("p", ".png"))}
    own |= {f"out-{n}_reface.json" for n in (1, 2, 3)}
    assert names(folder) - before == {*own, "m.nii.gz", "t2out.nii.gz", "t2out_reface.json"}
    reports = [report_of(f"out-{n}") for n in (1, 2, 3)]
    assert [report["seed"] for report in reports] == [8, 9, 10]
    assert [len(report["also_written"]) for report in reports] == [3, 1, 1]  # mask and companion with the first
    assert len({report["output_sha256"] for report in reports}) == 3
    assert capsys.readouterr().out.count("Wrote ") == 3
    assert cli.main([*arguments, "--overwrite"]) == 0


def test_one_face_has_the_name_that_was_given(folder):
    before = names(folder)
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--faces", "1"]) == 0
    assert names(folder) - before == {"out.nii.gz", "out_reface.json"}


def test_several_faces_of_many_heads_go_into_a_folder(folder):
    assert cli.main(["image", "t1.nii.gz", "t2.nii.gz", "--faces", "2", "--out-dir", "new"]) == 0
    outputs = {f"t{head}_refaced-{face}" for head in (1, 2) for face in (1, 2)}
    assert names(folder / "new") == {f"{name}{ending}" for name in outputs for ending in (".nii.gz", "_reface.json")}
    seeds = [json.loads((folder / "new" / f"{name}_reface.json").read_text())["seed"] for name in sorted(outputs)]
    assert seeds[1] == seeds[0] + 1 and seeds[3] == seeds[2] + 1 and seeds[0] % 4 == seeds[2] % 4 == 0


def test_a_head_that_cannot_be_used_is_told_once_for_all_its_faces(folder, capsys):
    (folder / "bad.nii.gz").write_bytes(b"no image")
    assert cli.main(["image", "bad.nii.gz", "t1.nii.gz", "--faces", "3", "--out-dir", "new"]) == 2
    assert {name for name in names(folder / "new") if name.endswith(".gz")} == {
        f"t1_refaced-{n}.nii.gz" for n in (1, 2, 3)
    }
    told = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("reface: t1.nii.gz: ")]
    assert told[-1] == "reface: 3 of 6 faces were not made, as is told above."
    assert told[:-1] == ["reface: bad.nii.gz: read", *told[1:2]] and "bad.nii.gz" in told[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--faces", "0"], "from 1 to 100"),
        (["--faces", "many"], "from 1 to 100"),
        (["--faces", "101"], "from 1 to 100"),
        (["--faces", "2", "--mode", "deface"], "makes no face"),
        (["--faces", "3", "--seed", "4294967294"], "4294967296"),
    ],
)
def test_faces_that_cannot_be_made_are_refused(folder, pipeline, capsys, options, words):
    before = names(folder)
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", *options]) == 2
    said = capsys.readouterr().err
    assert words in said and one_sentence(said, PROGRAM) and names(folder) == before and pipeline.options is None
