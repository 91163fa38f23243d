"""A referral code survives being read aloud, and a slip of the finger never names somebody else."""

from __future__ import annotations

import string
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import rules

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODES = [rules.new_referral_code() for _ in range(200)]


def test_is_eight_characters_of_crockfords_alphabet() -> None:
    assert all(len(code) == 8 and set(code) <= set(ALPHABET) for code in CODES)
    assert len(set(CODES)) == len(CODES)
    assert all(rules.read_referral_code(code) == code for code in CODES)


@pytest.mark.parametrize(
    "data,check",
    [("0000000", "0"), ("0000001", "1"), ("000000Z", "Z"), ("0000016", "1"), ("0000015", "0")],
)
def test_checks_the_value_modulo_37(data: str, check: str) -> None:
    assert rules.read_referral_code(data + check) == data + check


def test_reads_what_people_make_of_it() -> None:
    assert rules.read_referral_code("oooo-oOil") == rules.read_referral_code("0000-0011") == "00000011"


@given(st.sampled_from(CODES), st.integers(0, 7), st.sampled_from(ALPHABET))
def test_notices_every_wrong_character(code: str, position: int, character: str) -> None:
    wrong = code[:position] + character + code[position + 1 :]
    assert rules.read_referral_code(wrong) == (code if wrong == code else None)


@given(st.sampled_from(CODES), st.integers(0, 5))
def test_notices_every_swapped_pair(code: str, position: int) -> None:
    swapped = code[:position] + code[position + 1] + code[position] + code[position + 2 :]
    assert rules.read_referral_code(swapped) == (code if swapped == code else None)


@given(st.text(alphabet=string.printable + "İıſ٣１\u212a", max_size=16))
def test_reads_anything_without_failing(typed: str) -> None:
    code = rules.read_referral_code(typed)
    assert code is None or (len(code) == 8 and set(code) <= set(ALPHABET))


@pytest.mark.parametrize(
    "day,born,age",
    [
        ((2026, 5, 16), (2008, 5, 17), 17),
        ((2026, 5, 17), (2008, 5, 17), 18),
        ((2026, 2, 28), (2008, 2, 29), 17),
        ((2026, 3, 1), (2008, 2, 29), 18),
        ((2028, 2, 29), (2008, 2, 29), 20),
        ((2026, 1, 1), (2025, 12, 31), 0),
    ],
)
def test_age_is_completed_years(day: tuple[int, int, int], born: tuple[int, int, int], age: int) -> None:
    assert rules.age_on(date(*day), born=date(*born)) == age


def test_countries_are_iso_3166() -> None:
    assert len(rules.COUNTRIES) == 249
    assert {"GB", "US", "DE", "IN", "SG", "ZA"} <= rules.COUNTRIES
    assert not {"UK", "EU", "XX", "AN", "SU"} & rules.COUNTRIES
