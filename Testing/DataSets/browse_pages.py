"""The quality pages in a real Chromium: order, filter, keys, marks, files; screenshots to be looked at.

pip install playwright && playwright install chromium-headless-shell
python Testing/DataSets/browse_pages.py WORK [--chromium /usr/bin/chromium] [--volumes 500]

Without the download, --chromium names a browser that is there.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "Python"))

from helpers.phantom import make_phantom  # noqa: E402
from RefaceLib.bids.marks import Mark, read_marks  # noqa: E402
from RefaceLib.bids.quality import Report  # noqa: E402
from RefaceLib.bids.record import DEFACED, FAILED, KEPT, REFACED, Record, Row  # noqa: E402
from RefaceLib.bids.thumbnail import write_thumbnail  # noqa: E402
from RefaceLib.head.faceparts import PARTS  # noqa: E402

NAME = "Heads of <b>Süd</b> & others"
SENTENCE = (
    "The brain is not clear enough to be compared with that of the first volume; check that both show one person."
)
SIZES = {"wide": (1500, 900), "half": (800, 800), "narrow": (420, 850)}
SECONDS = 3.0  # in which a page of 500 volumes is there, and is sorted


def make_report(folder: Path, volumes: int, private: bool = False) -> list[Record]:
    """Pages on so many volumes of phantoms, of every kind, in the ``folder``; their records."""
    head = make_phantom((64, 64, 64), (4.0, 4.0, 4.0))
    mask = np.zeros(head.stored.shape, dtype=bool)
    mask[10:54, 44:, 8:40] = True
    (folder / "persons").mkdir(parents=True)
    drawn = folder / "persons" / "drawn.jpg"
    write_thumbnail(drawn, head, mask)
    records, originals = [], {}
    for number in range(-(-volumes // 4)):
        rows = [_row(number, index) for index in range(min(4, volumes - 4 * number))]
        for row in rows:
            if row.picture:
                picture = folder / row.picture
                picture.parent.mkdir(parents=True, exist_ok=True)
                picture.write_bytes(drawn.read_bytes())
                originals[row.file] = row.picture
        outputs = {row.output: hashlib.sha256(row.file.encode()).hexdigest() for row in rows if row.output}
        records.append(Record(f"{number + 1:03d}", rows=tuple(rows), outputs=outputs))
    write_pages(folder, records, originals if private else None)
    return records


def _row(person: int, index: int) -> Row:
    label, suffix, session = f"sub-{person + 1:03d}", ("T1w", "T2w", "FLAIR", "bold")[index], ("", "ses-a")[person % 2]
    stem = f"{label}/{session}{'/' if session else ''}{('anat', 'func')[index == 3]}/{label}_acq-mprage_{suffix}"
    row = Row(label, session, f"{stem}.nii.gz", suffix, KEPT)
    if suffix == "bold":
        return row
    if (person + index) % 11 == 5:
        return Row(label, session, row.file, suffix, FAILED, "The file is truncated: copy it again.")
    removed = {part: 0.98 + 0.02 * ((7 * person + 3 * index + at) % 13) / 13 for at, part in enumerate(PARTS)}
    warnings = (SENTENCE,) if (person + index) % 5 == 2 else ()
    status = REFACED if suffix == "T1w" else DEFACED
    picture, output = f"persons/{stem}.jpg", f"{stem}_new.nii.gz"
    return Row(label, session, row.file, suffix, status, "", warnings, output, "m", picture, face_removed=removed)


def write_pages(folder: Path, records: list[Record], originals: dict[str, str] | None = None) -> None:
    for path, text in Report(NAME, records, read_marks(folder), originals).pages():
        (folder / path).write_text(text, encoding="utf-8")


@contextlib.contextmanager
def opened(browser, url: str, size: str = "wide") -> Iterator:
    """A page in a context of its own, which ends without any message, request of the network or error."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
    page = context.new_page()
    faults: list[str] = []

    def failed(request) -> None:
        if request.failure != "net::ERR_ABORTED":  # by a click on a link, before all pictures were there
            faults.append(f"{request.url}: {request.failure}")

    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: faults.append(asked.url) if not asked.url.startswith(("file:", "blob:")) else None)
    page.on("requestfailed", failed)
    page.goto(url)
    yield page
    context.close()
    assert not faults, faults


def shown(page) -> list[str]:
    return page.eval_on_selector_all("tbody tr:not([hidden])", "rows => rows.map(row => row.dataset.file)")


def cells(page, column: int) -> list[str]:
    cell = f"row.cells[{column}]"
    script = f"rows => rows.map(row => {cell}.dataset.sort ?? {cell}.textContent.trim())"
    return page.eval_on_selector_all("tbody tr:not([hidden])", script)


def chosen(page) -> str:
    return page.eval_on_selector("tr[aria-current]", "row => row.dataset.file")


def check_order(page) -> None:
    """Every column, both ways; what has no value is last."""
    titles = page.locator("th button").all_text_contents()
    assert len(titles) == 7
    for title in titles:
        head = page.locator("th", has=page.get_by_role("button", name=title, exact=True))
        column = head.evaluate("head => head.cellIndex")
        for way in ("ascending", "descending"):
            start = time.perf_counter()
            head.locator("button").click()
            assert time.perf_counter() - start < SECONDS and head.get_attribute("aria-sort") == way
            found = [text for text in cells(page, column) if text] if title != "Mark" else []
            assert found == sorted(found, reverse=way == "descending"), (title, way)
            empty = [not text for text in cells(page, column)]
            assert title == "Mark" or empty == sorted(empty)
    page.get_by_role("button", name="Person", exact=True).click()


def check_filter(page, files: list[str]) -> None:
    page.fill("#words", "sub-002 t2w")
    assert shown(page) == [file for file in files if "sub-002" in file and "T2w" in file]
    page.press("#words", "a")  # typed, no mark
    assert "0 accepted" in page.text_content("#count")
    page.fill("#words", "")
    page.select_option("#shown", "look")
    assert 0 < len(shown(page)) < len(files)
    page.select_option("#shown", "all")
    page.locator("h1").click()
    page.evaluate("document.activeElement.blur()")


def check_keys_and_marks(page, work: Path, files: list[str]) -> dict[str, Mark]:
    """j, k, a, r, u and the mouse; then the file that is saved, whose marks are returned."""
    page.locator("tbody tr").first.locator("td.file").click()
    assert chosen(page) == files[0]
    for key, expected in (("k", 0), ("j", 1), ("j", 2), ("k", 1)):
        page.keyboard.press(key)
        assert chosen(page) == files[expected]
    box = page.locator("tr[aria-current]").bounding_box()
    assert box["y"] >= 0
    page.keyboard.press("a")
    page.keyboard.press("j")
    page.keyboard.press("r")
    page.keyboard.press("j")
    page.keyboard.press("a")
    page.keyboard.press("u")
    page.locator("tbody tr").nth(4).get_by_role("button", name="reject").click()
    page.locator("tbody tr").nth(5).get_by_role("button", name="accept").dblclick()  # there and back
    assert "1 accepted, 2 rejected" in page.text_content("#count")
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "marks.tsv"
    download.value.save_as(work / "saved" / "marks.tsv")
    marks = read_marks(work / "saved")
    assert {file: mark.mark for file, mark in marks.items()} == {
        files[1]: "accepted", files[2]: "rejected", files[4]: "rejected"
    }  # fmt: skip
    return marks


def check_what_stays(page) -> None:
    """Marks are there after a reload, and on the person's page, where one more is given."""
    page.reload()
    assert "1 accepted, 2 rejected" in page.text_content("#count")
    page.locator("tbody tr").nth(1).locator("td.file").click()
    page.keyboard.press("o")
    page.wait_for_url("**/persons/sub-001.html")
    assert page.locator("tr[data-shown=accepted]").count() == 1
    page.keyboard.press("n")
    page.wait_for_url("**/persons/sub-002.html")
    page.keyboard.press("p")
    page.wait_for_url("**/persons/sub-001.html")
    page.locator("tbody tr").first.locator("td.file").click()
    page.keyboard.press("a")
    page.keyboard.press("i")
    page.wait_for_url("**/index.html")
    assert "2 accepted, 2 rejected" in page.text_content("#count")


def check_files(browser, folder: Path, work: Path, records: list[Record], marks: dict[str, Mark]) -> None:
    """marks.tsv is loaded by a page, or written into the pages; a mark of another output does not count."""
    url = (folder / "index.html").as_uri()
    with opened(browser, url) as page:
        page.set_input_files("#load", work / "saved" / "marks.tsv")
        page.get_by_text("3 marks were read.").wait_for()
        assert "1 accepted, 2 rejected" in page.text_content("#count")
        page.set_input_files("#load", folder / "persons" / "drawn.jpg")
        page.get_by_text("This file is no table of marks").wait_for()
    (folder / "marks.tsv").write_bytes((work / "saved" / "marks.tsv").read_bytes())
    changed = next(file for file, mark in marks.items() if mark.sha256)
    (folder / "marks.tsv").write_text((folder / "marks.tsv").read_text().replace(marks[changed].sha256, "0" * 64))
    write_pages(folder, records)
    with opened(browser, url) as page:
        assert len(page.query_selector_all("tr[data-shown=accepted], tr[data-shown=rejected]")) == 2
        assert "the volume has changed since" in page.locator(f'tr[data-file="{changed}"]').text_content()


def look(browser, folder: Path, work: Path) -> None:
    """Screenshots of the page and of a person's, in every size; none is wider than its window."""
    for path in ("index.html", "persons/sub-001.html"):
        for size in SIZES:
            with opened(browser, (folder / path).as_uri(), size) as page:
                page.wait_for_timeout(300)
                page.screenshot(path=work / f"{folder.name}-{Path(path).stem}-{size}.png")
                width = page.evaluate("document.documentElement.scrollWidth")
                assert width <= SIZES[size][0], f"{folder.name} {path} is {width} pixels wide at {SIZES[size][0]}"
                broken = page.eval_on_selector_all(
                    "img", "images => images.filter(image => image.complete && !image.naturalWidth).length"
                )
                assert not broken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK")
    parser.add_argument("--chromium", metavar="PROGRAM")
    parser.add_argument("--volumes", type=int, default=500)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    work = options.work
    folders = {count: work / f"volumes-{count}" for count in (1, 12, options.volumes)}
    records = {count: make_report(folder, count) for count, folder in folders.items()}
    make_report(work / "private", 12, private=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        for folder in [*folders.values(), work / "private"]:
            look(browser, folder, work)
        start = time.perf_counter()
        with opened(browser, (folders[options.volumes] / "index.html").as_uri()) as page:
            print(f"{options.volumes} volumes are there after {time.perf_counter() - start:.1f} s", flush=True)
            start = time.perf_counter()
            check_order(page)
            print(f"14 orders take {time.perf_counter() - start:.1f} s", flush=True)
        with opened(browser, (folders[12] / "index.html").as_uri()) as page:
            files = shown(page)
            check_order(page)
            check_filter(page, files)
            marks = check_keys_and_marks(page, work, files)
            page.screenshot(path=work / "marked.png")
            check_what_stays(page)
        check_files(browser, folders[12], work, records[12], marks)
        browser.close()
    print(f"All is as it should be. Look at the pictures in {work}.")


if __name__ == "__main__":
    main()
