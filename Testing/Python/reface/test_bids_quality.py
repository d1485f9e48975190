"""The pages by which volumes are judged, and their pictures; Testing/DataSets/browse_pages.py is for a browser."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from helpers import bidsset
from helpers.phantom import make_phantom
from helpers.realhead import reoriented
from helpers.reface.bidswork import blank_person
from helpers.reface.htmlpages import Element, parse, read
from RefaceLib.bids import dataset, run
from RefaceLib.bids.carry import Taken
from RefaceLib.bids.engine import Workers
from RefaceLib.bids.index import index_dataset
from RefaceLib.bids.job import Job, Options
from RefaceLib.bids.marks import Mark, read_marks
from RefaceLib.bids.private import Originals, check_private, draw_originals, write_private
from RefaceLib.bids.quality import Report, verdict
from RefaceLib.bids.record import DEFACED, FAILED, KEPT, REFACED, Record, Row
from RefaceLib.bids.thumbnail import HEIGHT, SIDE, WIDTH, write_thumbnail
from RefaceLib.common.errors import InputError, OutputError
from RefaceLib.volume.io import Volume, read_volume

HEAD = make_phantom((16, 20, 18), (12.0, 12.0, 12.0))
T1W = "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"
PICTURE = "persons/sub-01/ses-a/anat/sub-01_ses-a_T1w.jpg"


@pytest.fixture(name="root")
def root_fixture(tmp_path) -> Path:
    """Two persons, below a folder with a space and an umlaut; one volume ends too early."""
    root = bidsset.begin(tmp_path / "Süd Klinik" / "heads", 'Heads of <b>"A & B"</b>')
    for visit in "ab":
        bidsset.add(root, f"sub-01/ses-{visit}/anat/sub-01_ses-{visit}_T1w.nii.gz", HEAD, bidsset.PERSONAL)
    bidsset.add(root, "sub-02/anat/sub-02_T1w.nii.gz", HEAD)
    bidsset.cut(bidsset.add(root, "sub-02/anat/sub-02_T2w.nii.gz", HEAD))
    return bidsset.finish(root)


def done(root: Path, out: Path, output: str = "derivatives") -> list[Record]:
    """All persons' records after the work without networks, with the pages."""
    dataset.make_out(out)
    dataset.settle(out, output, 1)
    options = Options(output=output)
    for found in index_dataset(root):
        blank_person(Job(root, out, found, options))
    return dataset.write_top(root, out, options)


def rows_of(page: Element) -> dict[str, Element]:
    return {row.attributes["data-file"]: row for row in page.all("tr") if "data-file" in row.attributes}


# ---- pages ----


def test_every_volume_has_a_row_and_every_person_a_page(root, tmp_path):
    out = tmp_path / "out"
    records = done(root, out)
    page = read(out / "index.html")
    rows = rows_of(page)
    assert set(rows) == {row.file for record in records for row in record.rows}
    first, lost = rows[T1W], rows["sub-02/anat/sub-02_T2w.nii.gz"]
    assert first.attributes["data-sha"] == records[0].outputs[records[0].rows[0].output]
    assert "passed" in first.text and "defaced" in first.text and "100.0 % nose" in first.text
    assert "failed" in lost.text and "The file is truncated" in lost.text and not list(lost.all("img"))
    assert "4 volumes: 1 failed, 3 passed." in page.text
    for label, count in (("01", 2), ("02", 2)):
        assert len(rows_of(read(out / f"persons/sub-{label}.html"))) == count


@pytest.mark.parametrize("path", ["index.html", "persons/sub-01.html"])
def test_a_page_needs_nothing_but_its_own_folder(root, tmp_path, path):
    out = tmp_path / "out"
    done(root, out)
    page = read(out / path)
    links = [value for element in page.all() for name, value in element.attributes.items() if name in ("src", "href")]
    assert len(links) > 2
    for link in links:
        assert ":" not in link and not link.startswith("/") and (out / path).parent.joinpath(unquote(link)).is_file()
    (policy,) = (meta.attributes["content"] for meta in page.all("meta") if "http-equiv" in meta.attributes)
    for tag in ("script", "style"):
        (element,) = page.all(tag)
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
        assert not re.search(r"https?:|@import|url\(|innerHTML|eval\(|fetch\(", element.text)
    assert not [
        name for element in page.all() for name in element.attributes if name.startswith("on") or name == "style"
    ]


def test_pages_and_pictures_hold_nothing_personal(root, tmp_path):
    out = tmp_path / "out"
    done(root, out, "dataset")
    written = [out / "index.html", *(path for path in (out / "persons").rglob("*") if path.is_file())]
    assert len(written) == 6
    for path in written:
        content = path.read_bytes()
        assert not any(word.encode() in content for word in ("Südtor", "Änne", "2019", "Klinik", str(tmp_path), "Exif"))


NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(1)> \"'& $title $$ &amp; ${rows}"


def test_texts_are_shown_as_they_are_whatever_they_hold():
    file = 'sub-01/anat/sub-01_acq-"><b>x#1%20é?_T1w.nii.gz'
    picture = file.replace(".nii.gz", ".jpg")
    row = Row(
        "sub-01", f"ses-{NASTY}", file, "T1w", REFACED, NASTY, (NASTY,), "o", "m", picture, face_removed={NASTY: 1}
    )
    record = Record("01", rows=(row,), outputs={"o": NASTY})
    report = Report(NASTY, [record], {file: Mark("accepted", NASTY)}, {file: picture})
    plain = Report(
        "x",
        [Record("01", rows=(replace(row, session_id="ses-x", sentence="x", warnings=("x",)),))],
        {},
        {file: picture},
    )
    for (_, text), (_, other) in zip(report.pages(), plain.pages(), strict=True):
        page = parse(text)
        tags = [element.tag for element in page.all() if element.tag != "wbr"]
        assert tags == [element.tag for element in parse(other).all() if element.tag != "wbr"]
        (shown,) = rows_of(page).values()
        assert shown.attributes["data-file"] == file and shown.attributes["data-sha"] == NASTY
        assert shown.attributes["data-of"] == NASTY and shown.text.count(NASTY) >= 3
        assert NASTY in next(page.all("title")).text
        images = [image.attributes["src"] for image in shown.all("img")]
        assert len(images) == 2 and all(unquote(image).removeprefix("../") == picture for image in images)
        assert not any(set(image) & set('#?"<') for image in images)


def test_names_that_are_no_text_do_not_stop_the_page(tmp_path):
    row = Row("sub-01", "", os.fsdecode(b"sub-01/anat/sub-01_\xff_T1w.nii.gz"), "T1w", KEPT)
    for _, text in Report("x", [Record("01", rows=(row,))], {}).pages():
        assert b"\xff" in text.encode("utf-8", "surrogateescape")


def test_a_verdict_says_whether_to_look():
    row = Row("sub-01", "", "x", "T1w", DEFACED)
    assert verdict(row) == "passed" and verdict(replace(row, warnings=("Look.",))) == "look"
    assert verdict(replace(row, status=FAILED)) == "failed" and verdict(replace(row, status=KEPT)) == "kept"


def test_a_page_of_a_person_who_is_gone_goes(root, tmp_path):
    out = tmp_path / "out"
    done(root, out)
    (out / ".reface/sub-02.json").unlink()
    dataset.write_top(root, out, Options())
    assert not (out / "persons/sub-02.html").exists() and "sub-02" not in (out / "index.html").read_text()


def test_pages_of_another_one_are_kept(root, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "index.html").write_text("mine")
    with pytest.raises(OutputError, match="was not written by reface bids"):
        done(root, out)
    assert (out / "index.html").read_text() == "mine" and not (out / "persons/sub-01.html").exists()


def test_a_run_that_is_killed_among_the_pages_goes_on(root, tmp_path, monkeypatch):
    out, put = tmp_path / "out", Taken.put

    def killed(taken, content, path):
        put(taken, content, path)
        if path == "persons/sub-02.html":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Taken, "put", killed)
        done(root, out)
    assert (out / "persons/sub-02.html").exists()
    (out / "persons/sub-02.html").write_text("half")
    done(root, out)
    assert rows_of(read(out / "persons/sub-02.html"))


def test_the_pages_of_a_data_set_that_was_written_so_are_not_taken_over(root, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    done(root, first, "dataset")
    (first / "marks.tsv").write_text("file\tmark\n")
    done(first, second, "dataset")
    assert not (second / "marks.tsv").exists()
    assert len(rows_of(read(second / "index.html"))) == 3
    assert bidsset.validation_errors(first) == bidsset.validation_errors(second) == []


# ---- pictures ----


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.size == (WIDTH, HEIGHT)
        return np.asarray(image).astype(int)


def test_a_picture_is_an_output_like_others(root, tmp_path):
    out = tmp_path / "out"
    (record, _) = done(root, out)
    assert record.rows[0].picture == PICTURE and PICTURE in record.outputs
    content = (out / PICTURE).read_bytes()
    assert len(content) < 40_000
    (out / PICTURE).unlink()
    done(root, out)
    assert (out / PICTURE).read_bytes() == content


def test_a_picture_shows_the_result_and_not_the_original(root, tmp_path):
    out = tmp_path / "out"
    (record, _) = done(root, out)
    row = record.rows[0]
    after, mask = read_volume(out / row.output), read_volume(out / row.mask).stored > 0
    other = replace(after, stored=np.where(mask, 0, after.stored).astype(after.stored.dtype))
    write_thumbnail(tmp_path / "other.jpg", other, mask)
    grey = pixels(out / PICTURE)
    assert np.abs(grey - pixels(tmp_path / "other.jpg")).max() < 40  # air is blank too
    front = grey[:, : SIDE // 4]
    coloured = np.ptp(front, axis=2) > 25  # outline and letters
    assert np.median(front[~coloured]) < 12


@pytest.mark.parametrize("axes", ["LAS", "PSR", "IPL"])
def test_a_picture_does_not_depend_on_the_order_of_axes(tmp_path, axes):
    head = make_phantom((64, 64, 64), (4.0, 4.0, 4.0))
    mask = np.zeros(head.stored.shape, dtype=bool)
    mask[10:54, 44:, 8:40] = True
    mask_volume = Volume(mask.astype(np.uint8), head.affine)
    write_thumbnail(tmp_path / "ras.jpg", head, mask)
    turned = reoriented(mask_volume, axes).stored > 0
    write_thumbnail(tmp_path / "other.jpg", reoriented(head, axes), turned)
    difference = np.abs(pixels(tmp_path / "ras.jpg") - pixels(tmp_path / "other.jpg"))
    assert np.percentile(difference, 98) < 20


def test_the_subjects_right_is_on_the_left(tmp_path):
    stored = np.zeros((60, 60, 60), dtype=np.int16)
    stored[5:15, 25:35, 25:35] = 1000  # right: the first axis goes to the left of the subject
    volume = Volume(stored, np.diag([-4.0, 4.0, 4.0, 1.0]) @ _shift(-30))
    write_thumbnail(tmp_path / "picture.jpg", replace(volume, stored=stored[::-1].copy()), None)
    write_thumbnail(tmp_path / "right.jpg", volume, None)
    for path, bright in (("right.jpg", 0), ("picture.jpg", 1)):
        axial = pixels(tmp_path / path)[20:, SIDE : 2 * SIDE].sum(axis=(0, 2))
        halves = axial[: SIDE // 2].sum(), axial[SIDE // 2 :].sum()
        assert halves[bright] > 5 * halves[1 - bright]


def _shift(voxels: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = voxels
    return matrix


def test_frames_are_shown_by_their_mean(tmp_path):
    mask = np.zeros(HEAD.stored.shape, dtype=bool)
    mask[4:12, 14:, 3:9] = True
    frames = np.stack([HEAD.stored.astype(np.float32) * factor for factor in (0.5, 1.5)], axis=3)
    write_thumbnail(tmp_path / "frames.jpg", replace(HEAD, stored=frames), mask)
    write_thumbnail(tmp_path / "one.jpg", replace(HEAD, stored=HEAD.stored.astype(np.float32)), mask)
    assert (tmp_path / "frames.jpg").read_bytes() == (tmp_path / "one.jpg").read_bytes()


@pytest.mark.parametrize("value", [0.0, np.nan, 5.0])
def test_a_volume_that_shows_nothing_has_a_picture(tmp_path, value):
    write_thumbnail(tmp_path / "flat.jpg", Volume(np.full((8, 8, 8), value, np.float32), np.eye(4)), None)
    assert pixels(tmp_path / "flat.jpg").shape == (HEIGHT, WIDTH, 3)


# ---- marks ----


def test_marks_are_read_and_shown(root, tmp_path):
    out = tmp_path / "out"
    (record, _) = done(root, out)
    sha = record.outputs[record.rows[0].output]
    (out / "marks.tsv").write_text(f"file\tmark\tsha256\n{T1W}\taccepted\t{sha}\nother\trejected\tn/a\n")
    assert read_marks(out) == {T1W: Mark("accepted", sha), "other": Mark("rejected", "")}
    dataset.write_top(root, out, Options())
    for path in ("index.html", "persons/sub-01.html"):
        row = rows_of(read(out / path))[T1W]
        assert (row.attributes["data-mark"], row.attributes["data-of"]) == ("accepted", sha)
    assert (out / "marks.tsv").exists() and "marks.tsv" in (out / ".bidsignore").read_text().split()


@pytest.mark.parametrize("text", ["what\tever\n1\t2\n", f"file\tmark\n{T1W}\tperhaps\n", f"file\tmark\n{T1W}\n"])
def test_a_file_that_holds_no_marks_is_told_before_the_work(root, tmp_path, text):
    out = tmp_path / "out"
    out.mkdir()
    (out / "marks.tsv").write_text(text)
    with pytest.raises(InputError, match="no table of marks"):
        run.run_participants(root, out, Options(), workers=Workers(1), work=blank_person)
    assert [path.name for path in out.iterdir()] == ["marks.tsv"]


# ---- with the originals ----


def test_private_pages_show_the_originals_elsewhere(root, tmp_path):
    out, folder = tmp_path / "out", tmp_path / "private"
    records = done(root, out)
    before = bidsset.outputs(out)
    for _ in range(2):  # it may be written again
        write_private(root, out, folder, "Heads", records, Workers(1))
    page = read(folder / "index.html")
    assert "Private" in page.text and folder.stat().st_mode & 0o077 == 0
    images = [image.attributes["src"] for image in rows_of(page)[T1W].all("img")]
    assert images == [PICTURE.replace(".jpg", "_original.jpg"), PICTURE]
    assert (folder / PICTURE).read_bytes() == (out / PICTURE).read_bytes()
    original, after = (pixels(folder / image)[:, : SIDE // 4] for image in images)
    assert original.sum() > 1.3 * after.sum()  # the front of the head is blank after it
    assert not list(rows_of(page)["sub-02/anat/sub-02_T2w.nii.gz"].all("img"))
    assert bidsset.outputs(out) == before and "Private" not in (out / "index.html").read_text()


def test_originals_whose_content_is_not_here_are_left_out(root, tmp_path):
    out = tmp_path / "out"
    (record, _) = done(root, out)
    (root / T1W).unlink()
    (root / T1W).symlink_to(".git/annex/objects/x")
    assert T1W not in draw_originals(Originals(root, out, tmp_path / "private", record))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize("there", [False, True])
def test_private_pages_can_be_read_by_nobody_else(root, tmp_path, there):
    """Also where the folder is there already, for all to read."""
    folder = tmp_path / "private"
    if there:
        folder.mkdir(mode=0o755)
    write_private(root, tmp_path / "out", folder, "Heads", done(root, tmp_path / "out"), Workers(1))
    assert folder.stat().st_mode & 0o777 == 0o700
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 6 and {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert not (tmp_path / "out/index.html").stat().st_mode & 0o044 == 0


@pytest.mark.parametrize("place", ["out", "out/private", "in", "in/derivatives/private", ".", "full", "file"])
def test_private_pages_are_kept_apart(tmp_path, place):
    for name in ("in", "out", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "full/notes.txt").touch()
    with pytest.raises(OutputError):
        check_private(tmp_path / place, tmp_path / "in", tmp_path / "out")
    check_private(tmp_path / "apart", tmp_path / "in", tmp_path / "out")


def test_a_link_into_the_outputs_is_no_way_around(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with pytest.raises(OutputError, match="OUT_DIR"):
        check_private(tmp_path / "link/private", tmp_path / "in", tmp_path / "out")
