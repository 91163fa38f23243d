"""Two spellings of one person's name: banks write it in capitals, without accents, and with the family name first."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from enum import StrEnum

_TITLES = frozenset({"mr", "mrs", "ms", "miss", "dr", "prof", "herr", "frau", "mme", "sir"})
#: Letters that Unicode does not take apart.
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "a", "œ": "o", "þ": "th", "ı": "i"})
#: An umlaut that a bank has spelled out; in both names alike, so that it does not matter where it was none.
_SPELLED_OUT = re.compile(r"(?<=[aou])e")


class Likeness(StrEnum):
    """How alike two names are."""

    SAME = "SAME"
    SIMILAR = "SIMILAR"  # one of them leaves out or cuts short what the other one has
    DIFFERENT = "DIFFERENT"


def likeness(one: str, other: str) -> Likeness:
    """
    Compare two names, whatever their case, accents, order, punctuation and titles.

    A middle name that one of them leaves out, and an initial that stands for a name, make them similar: at least one
    word has to be in both, and neither may be a single word.
    """
    first, second = _words(one), _words(other)
    if not first or not second:
        return Likeness.DIFFERENT
    if first == second:
        return Likeness.SAME
    both = first & second
    fewer, more = sorted((first - both, second - both), key=Counter.total)
    remaining = list(more.elements())
    for word in fewer.elements():
        match = next((found for found in remaining if _is_initial(word, found)), None)
        if match is None:
            return Likeness.DIFFERENT
        remaining.remove(match)
    is_more_than_one_word = min(first.total(), second.total()) > 1
    return Likeness.SIMILAR if both and is_more_than_one_word else Likeness.DIFFERENT


def _words(name: str) -> Counter[str]:
    apart = unicodedata.normalize("NFKD", name.casefold().translate(_LETTERS))
    plain = "".join(letter for letter in apart if not unicodedata.combining(letter))
    words = re.findall(r"[^\W\d_]+", plain.replace("'", "").replace("’", ""))
    return Counter(_SPELLED_OUT.sub("", word) for word in words if word not in _TITLES)


def _is_initial(word: str, other: str) -> bool:
    """Whether one of them is the first letter of the other."""
    return 1 in {len(word), len(other)} and word[0] == other[0]
