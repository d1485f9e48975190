"""How names, IDs and dates of a person may be spelled in other texts: without accents, beside other letters, or turned.

Müller stands in a text as MULLER or Mueller, KowalczykB is a name with an initial, and 4 July 1956 may be 04.07.1956,
19560704 or 560704.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_SHORTEST_NAME, _SHORTEST_CODE = 3, 4  # a shorter name or ID is in every text
_SHORTEST_NUMBER = 5  # of the digits of an ID alone
_SHORT_CODE = 6
_DAY = 8  # digits of a date with its century
# Letters that Unicode does not take apart into a plain one and an accent, and what replaces them.
_PLAIN = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ß": "ss", "æ": "ae", "œ": "oe", "þ": "th"}
)
_DIGRAPHS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})
_DATE = re.compile(r"(?<!\d)(\d{1,4})[-./ ](\d{1,2})[-./ ](\d{1,4})(?!\d)")


@dataclass(eq=False)
class Spellings:
    """What tells who a person is: words of ``names``, whole ``codes`` without separators, and their ``numbers``.

    All are lower case and without accents. ``glued`` is the length from which a name is found within a longer word.
    """

    glued: int = 5
    names: set[str] = field(default_factory=set)
    codes: set[str] = field(default_factory=set)
    numbers: set[str] = field(default_factory=set)

    def add_names(self, texts: Iterable[str]) -> None:
        """The words of names; initials and digits are left out."""
        words = (word for text in texts for word in _words(text))
        self.names |= {word for word in words if len(word) >= _SHORTEST_NAME and not word.isdigit()}

    def add_codes(self, texts: Iterable[str]) -> None:
        """IDs and addresses, which are found as a whole, and the longer numbers in them."""
        for text in texts:
            self.codes |= {code for code in map(_joined, _plain(text)) if len(code) >= _SHORTEST_CODE}
            self.numbers |= {run for run in _runs(text) if len(run) >= _SHORTEST_NUMBER}

    def add_dates(self, texts: Iterable[str]) -> None:
        """Dates as DICOM has them (YYYYMMDD, or with a time after it), in the orders in which people write them."""
        for text in texts:
            if found := re.match(r"\s*(\d{4})[-.]?(\d\d)[-.]?(\d\d)", text):
                year, month, day = found.groups()
                for each in (year, year[2:]):
                    self.numbers |= {f"{each}{month}{day}", f"{day}{month}{each}", f"{month}{day}{each}"}

    def forget(self, text: str) -> None:
        """Of a text that stands for no person, such as the name that all anonymous ones get."""
        for plain in _plain(text):
            self.names.discard(plain)
            self.codes.discard(_joined(plain))

    def found_in(self, text: str) -> bool:
        """Whether a text tells one of them, however it is spelled."""
        return self._has_name(_words(text)) or self._has_number(_runs(text)) or any(map(self._has_code, _plain(text)))

    def _has_name(self, words: set[str]) -> bool:
        long = [name for name in self.names if len(name) >= self.glued]
        return not self.names.isdisjoint(words) or any(name in word for word in words for name in long)

    def _has_number(self, runs: set[str]) -> bool:
        dates = [number for number in self.numbers if len(number) == _DAY]  # often with a time of day behind them
        return not self.numbers.isdisjoint(runs) or any(date in run for run in runs for date in dates)

    def _has_code(self, plain: str) -> bool:
        """A short code is looked for in single words: beside each other, they would give too many."""
        whole, words = _joined(plain), [_joined(word) for word in plain.split()]
        return any(
            code in whole if len(code) > _SHORT_CODE else any(code in word for word in words) for code in self.codes
        )


def _plain(text: str) -> Iterator[str]:
    """The text in lower case without accents, once with ä as a, and once with ä as ae."""
    lower = unicodedata.normalize("NFC", text.lower())
    for each in (lower, lower.translate(_DIGRAPHS)):
        apart = unicodedata.normalize("NFKD", each.translate(_PLAIN))
        yield "".join(letter for letter in apart if not unicodedata.combining(letter))


def _words(text: str) -> set[str]:
    return {word for plain in _plain(text) for word in re.findall(r"[^\W_]+", plain)}


def _joined(text: str) -> str:
    return re.sub(r"[\W_]", "", text)


def _runs(text: str) -> set[str]:
    """The numbers in a text, and its dates without what separates day, month and year."""
    dates = {"".join(part.zfill(2) for part in found) for found in _DATE.findall(text)}
    return set(re.findall(r"\d+", text)) | dates
