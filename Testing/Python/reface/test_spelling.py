"""Names, IDs and dates of a person are found in texts, however they are spelled."""

from __future__ import annotations

import pytest

from RefaceLib.common.spelling import Spellings


def _of(names=(), codes=(), dates=()):
    person = Spellings()
    person.add_names(names)
    person.add_codes(codes)
    person.add_dates(dates)
    return person


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Müller^Jörg-Óskar", "for MULLER"),
        ("Müller^Jörg-Óskar", "t1_mueller"),
        ("Müller^Jörg-Óskar", "joerg"),
        ("Müller^Jörg-Óskar", "Oskar"),
        ("Mueller", "Müller"),
        ("Wiśniewska^Żaneta", "HEADWISNIEWSKA"),
        ("Wałęsa", "walesa"),
        ("Sørensen", "soerensen"),
        ("Strauß", "STRAUSS"),
        ("Kowalczyk^Bronisława", "KowalczykB"),
        ("Nowak-Kowalczyk", "B.Kowalczyk"),
        ("Mu\u0308ller", "müller"),  # the accent as a letter of its own
        ("王小明", "of 王小明"),
        ("DOE^JANE", "DOEJANE"),
        ("DOE^JANE", "fl3d_JDoe1"),
        ("DOE^JANE", "DOE01"),
        ("Smith^John", "JohnS"),
        ("Li^Na", "Prisma LI NA"),
        ("O'NEIL^TIM", "ONEIL"),
        ("Jean-Luc^Paul", "JEANLUC"),
        ("MUELLER^HANS", "Muller"),
        ("Wang^XiaoDong=王^小东", "E11 王小东"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田 太郎"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "홍길동님"),
        ("ИВАНОВ^ИВАН", "Иванов И"),
    ],
)
def test_a_name_is_found_without_accents_and_beside_other_letters(name, text):
    assert _of(names=[name]).found_in(text)


@pytest.mark.parametrize(
    ("code", "text"),
    [("ÄÖ-12.34", "AO1234"), ("PX998877", "998877"), ("PX998877", "no px-998877b"), ("St. Mary, Oslo", "ST MARY OSLO")],
)
def test_an_id_is_found_without_what_separates_its_parts(code, text):
    assert _of(codes=[code]).found_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "19560704",
        "1956-07-04",
        "04.07.1956",
        "07/04/1956",
        "4.7.1956",
        "560704",
        "040756",
        "c19560704101112",
        "1956 07 04",
    ],
)
def test_a_date_is_found_in_any_order(text):
    assert _of(dates=["19560704"]).found_in(text)
    assert _of(dates=["19560704101112.5"]).found_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "head",
        "MPRAGE 1.0 mm",
        "sleeping",
        "5.7 5.8",
        "syngo MR 1234567",
        "1999-12-31",
        "19560705",
        "T1 12.5 ms",
        "x560",
    ],
)
def test_other_texts_are_left_alone(text):
    assert not _of(["Lee^Al", "Ng", "Phil^Ip"], ["5758", "A 1", "12"], ["19560704"]).found_in(text)


def test_the_name_of_all_anonymous_ones_is_nobodys():
    person = _of(["ANONYMOUS", "Doe"], ["ANONYMOUS"])
    person.forget("ANONYMOUS")
    assert not person.found_in("anonymous") and person.found_in("doe")
