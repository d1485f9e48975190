"""How names, IDs and dates of a person may be spelled in other texts: without accents, beside other letters, or turned.

Müller stands in a text as MULLER or Mueller, DOE^JANE as JDoe1, and 4 July 1956 may be 04-Jul-1956 or 560704.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_SHORTEST_NAME, _SHORTEST_CODE = 3, 4  # a shorter name or ID is in every text
_SHORTEST_NUMBER = 5  # of the digits of an ID alone
_SHORT_CODE = 6
_DAY = 8  # digits of a date with its century
_MOST_PARTS = 6  # of a name that are put beside each other
# Letters that Unicode does not take apart into a plain one and an accent, and what replaces them.
_PLAIN = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ß": "ss", "æ": "ae", "œ": "oe", "þ": "th"}
    | {"Ł": "L", "Ø": "O", "Đ": "D", "Ð": "D", "Ħ": "H", "Æ": "AE", "Œ": "OE", "Þ": "TH"}
)
_DIGRAPHS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "Ä": "AE", "Ö": "OE", "Ü": "UE", "Å": "AA", "Ø": "OE"}
)
_SHORTER = (("ae", "a"), ("oe", "o"), ("ue", "u"))
_SYLLABLES = re.compile("[\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff]")  # one of them is a word, and no space parts words
_LETTERS = re.compile(r"[^\W\d_]+")
_CASES = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")  # JDoe1 is J and Doe
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(eq=False)
class Spellings:
    """What tells who a person is, in lower case and without accents.

    ``names`` are words and what they give beside each other, ``codes`` whole IDs without separators, ``numbers`` the
    longer ones in them, ``days`` (year, month, day). ``glued`` is the length from which a name is found within a word.
    """

    glued: int = 5
    names: set[str] = field(default_factory=set)
    codes: set[str] = field(default_factory=set)
    numbers: set[str] = field(default_factory=set)
    days: set[tuple[int, int, int]] = field(default_factory=set)

    def add_names(self, texts: Iterable[str]) -> None:
        """Names as DICOM writes them (family^given=the same in other letters) or as people do."""
        for text in texts:
            for group in text.split("="):
                for plain in _plain(group):
                    self._add_parts([part.lower() for part in _LETTERS.findall(plain)][:_MOST_PARTS])

    def _add_parts(self, parts: list[str]) -> None:
        """Each part of a name, and each two of them together, also where one is an initial."""
        pairs = (
            each
            for one, other in itertools.permutations(parts, 2)
            for each in (one + other, one[0] + other, one + other[0])
        )
        for name in (*parts, *(pair for pair in pairs if _long(pair, _SHORTEST_NAME + 1))):
            if _long(name, _SHORTEST_NAME):
                self.names.add(name)
            if len(name) > self.glued:  # MUELLER is MULLER, too
                self.names |= {name.replace(*each) for each in _SHORTER if each[0] in name}

    def add_codes(self, texts: Iterable[str]) -> None:
        """IDs and addresses, which are found as a whole, and the longer numbers in them."""
        for text in texts:
            self.codes |= {code for code in map(_joined, _plain(text)) if len(code) >= _SHORTEST_CODE}
            self.numbers |= {run for run in re.findall(r"\d+", text) if len(run) >= _SHORTEST_NUMBER}

    def add_dates(self, texts: Iterable[str]) -> None:
        """Dates as DICOM has them: YYYYMMDD, or with a time after it."""
        for text in texts:
            if found := re.match(r"\s*(\d{4})[-.]?(\d\d)[-.]?(\d\d)", text):
                year, month, day = found.groups()
                self.days.add((int(year), int(month), int(day)))
                for each in (year, year[2:]):
                    self.numbers |= {f"{each}{month}{day}", f"{day}{month}{each}", f"{month}{day}{each}"}

    def forget(self, text: str) -> None:
        """Of a text that stands for no person, such as the name that all anonymous ones get."""
        for plain in _plain(text):
            self.names.discard(plain.lower())
            self.codes.discard(_joined(plain))

    def found_in(self, text: str) -> bool:
        """Whether a text tells one of them, however it is spelled."""
        return any(
            self._has_name(plain) or self._has_code(plain.lower()) or self._has_day(plain.lower())
            for plain in _plain(text)
        ) or self._has_number(text)

    def _has_name(self, plain: str) -> bool:
        words = [word.lower() for word in _LETTERS.findall(plain)]
        beside = {one + other for one, other in itertools.pairwise(words)}
        cases = [case.lower() for case in _CASES.findall(plain)]
        beside |= {one + other for one, other in itertools.pairwise(cases)}
        if not self.names.isdisjoint({*words, *cases, *beside}):
            return True
        return any(name in word for name in self.names if _long(name, self.glued) for word in words)

    def _has_number(self, text: str) -> bool:
        runs = set(re.findall(r"\d+", text))
        dates = [number for number in self.numbers if len(number) == _DAY]  # often with a time of day behind them
        return not self.numbers.isdisjoint(runs) or any(date in run for run in runs for date in dates)

    def _has_code(self, plain: str) -> bool:
        """A short code is looked for in single words: beside each other, they would give too many."""
        whole, words = _joined(plain), [_joined(word) for word in plain.split()]
        return any(
            code in whole if len(code) > _SHORT_CODE else any(code in word for word in words) for code in self.codes
        )

    def _has_day(self, plain: str) -> bool:
        """Three numbers in a row, the month in letters as well, that are one of the days in any usual order."""
        if not self.days:
            return False
        parts = [_number(part) for part in re.findall(r"\d+|[a-z]+", plain)]
        days = {day for year, month, number in self.days for each in (year, year % 100) for day in (
            (each, month, number), (number, month, each), (month, number, each)
        )}  # fmt: skip
        return any(three in days for three in zip(parts, parts[1:], parts[2:], strict=False))


def _long(name: str, shortest: int) -> bool:
    return len(name) >= (2 if _SYLLABLES.search(name) else shortest)


def _number(part: str) -> int:
    """A number, or that of a month; -1 for other words."""
    return int(part) if part.isdigit() else _MONTHS.index(part[:3]) + 1 if part[:3] in _MONTHS else -1


def _plain(text: str) -> Iterator[str]:
    """The text without accents, once with ä as a, and once with ä as ae."""
    composed = unicodedata.normalize("NFC", text)
    for each in (composed, composed.translate(_DIGRAPHS)):
        apart = unicodedata.normalize("NFKD", each.translate(_PLAIN))
        # Composed again: Hangul would stay in parts.
        yield unicodedata.normalize("NFC", "".join(letter for letter in apart if not unicodedata.combining(letter)))


def _joined(text: str) -> str:
    return re.sub(r"[\W_]", "", text.lower())
