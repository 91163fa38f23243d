"""A field takes one spelling of one type, and says which field and what was wrong with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import models
from hypothesis import given
from hypothesis import strategies as st
from rest_framework import serializers

from core.api import (
    AmountField,
    PriceField,
    SecretField,
    StrictBooleanField,
    StrictChoiceField,
    StrictDateField,
    StrictDateTimeField,
    StrictIntegerField,
    StrictUUIDField,
    Terms,
    TextField,
    VolumeField,
)
from core.api.parsing import parse_object
from core.api.problems import invalid
from core.money import PrecisionExceeded


def refused(field: Any, value: Any) -> str:
    """The code with which the field refuses the value."""
    with pytest.raises(serializers.ValidationError) as caught:
        field.run_validation(value)
    (error,) = invalid(caught.value.detail).errors
    return str(error["code"])


HOSTILE_DECIMALS = [
    "",
    " ",
    "NaN",
    "sNaN",
    "nan",
    "Infinity",
    "-Infinity",
    "inf",
    "1e400",
    "1E+2",
    "1e2",
    "-0",
    "-0.00",
    "-1",
    "+5",
    "1_000",
    "1,000",
    "1,5",
    " 5 ",
    " 5",
    "5\n",
    "5\r\n",
    "\t5",
    "5 ",
    "１２.５",
    "١٢٣",
    "५",
    "²",
    "5.",
    ".5",
    "00",
    "01",
    "0x10",
    "1.2.3",
    "5\x00",
    "\u202e5",
    "5\u200b",
    "½",
    "$5",
    "5 USD",
    "true",
    "null",
    "(5)",
    "1/2",
]


@pytest.mark.parametrize("text", HOSTILE_DECIMALS)
@pytest.mark.parametrize("field", [AmountField(), PriceField(), VolumeField(), AmountField(allow_zero=True)])
def test_decimals_refuse_every_other_spelling(field: Any, text: str) -> None:
    assert refused(field, text) == "MALFORMED_DECIMAL"


@pytest.mark.parametrize("value", [5, 5.0, True, False, [], {}, ["5"], {"a": "5"}, Decimal(5), b"5"])
@pytest.mark.parametrize("field", [AmountField(), PriceField(), VolumeField()])
def test_decimals_refuse_what_is_not_a_string(field: Any, value: Any) -> None:
    assert refused(field, value) == "NOT_A_STRING"


@pytest.mark.parametrize("literal", ["1.5", "1e400", "1E+2", "-0", "0.1", "12345678901234567890123"])
@pytest.mark.parametrize("field", [AmountField(), StrictIntegerField(), TextField(max_length=9), StrictBooleanField()])
def test_no_field_accepts_an_inexact_number(field: Any, literal: str) -> None:
    value = parse_object(f'{{"x": {literal}}}'.encode())["x"]
    assert refused(field, value) in {"NOT_A_STRING", "NOT_AN_INTEGER", "NOT_A_BOOLEAN"}


@pytest.mark.parametrize(
    "field,largest,too_long,too_precise",
    [
        (AmountField(), "999999999999.99999999", "1000000000000", "0.123456789"),
        (PriceField(), "9999999999.9999999999", "10000000000", "0.12345678901"),
        (VolumeField(), "99999999999999.9999", "100000000000000", "0.00001"),
    ],
)
def test_decimals_keep_to_the_digits_of_their_column(field: Any, largest: str, too_long: str, too_precise: str) -> None:
    assert field.run_validation(largest) == Decimal(largest)
    assert refused(field, too_long) == "TOO_LARGE"
    assert refused(field, "9" * 21) == "TOO_LARGE"
    assert refused(field, "9" * 60_000) == "TOO_LARGE"
    assert refused(field, too_precise) == "PRECISION_EXCEEDED"


def test_decimals_are_more_than_zero_unless_zero_is_allowed() -> None:
    assert refused(AmountField(), "0") == "NOT_POSITIVE"
    assert refused(AmountField(), "0.00000000") == "NOT_POSITIVE"
    assert AmountField(allow_zero=True).run_validation("0.00") == Decimal("0.00")


def test_a_decimal_keeps_the_precision_it_was_typed_with() -> None:
    assert str(AmountField().run_validation("1.500")) == "1.500"
    assert AmountField().to_representation(Decimal("1E+2")) == "100"


@given(st.text(max_size=24))
def test_an_amount_is_either_refused_or_means_the_text(text: str) -> None:
    try:
        value = AmountField().run_validation(text)
    except serializers.ValidationError:
        return
    assert text.isascii()
    assert format(value, "f") == text
    assert Decimal(0) < value < Decimal(10) ** 12


@pytest.mark.parametrize("value", [1, 0, "true", "True", "false", "on", "1", "", [], {}])
def test_a_boolean_is_true_or_false(value: Any) -> None:
    assert StrictBooleanField().run_validation(True) is True
    assert StrictBooleanField().run_validation(False) is False
    assert refused(StrictBooleanField(), value) == "NOT_A_BOOLEAN"


@pytest.mark.parametrize("value", ["1", "", True, False, 1.0, [], {}, "1e3"])
def test_an_integer_is_a_whole_json_number(value: Any) -> None:
    assert StrictIntegerField().run_validation(7) == 7
    assert refused(StrictIntegerField(), value) == "NOT_AN_INTEGER"


def test_an_integer_fits_its_column_and_its_limits() -> None:
    assert refused(StrictIntegerField(), 2**63) == "TOO_LARGE"
    assert refused(StrictIntegerField(), -(2**63) - 1) == "TOO_SMALL"
    assert refused(StrictIntegerField(min_value=1, max_value=500), 0) == "TOO_SMALL"
    assert refused(StrictIntegerField(min_value=1, max_value=500), 501) == "TOO_LARGE"


CANONICAL = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.mark.parametrize(
    "value",
    [
        CANONICAL.upper(),
        CANONICAL.replace("-", ""),
        f"{{{CANONICAL}}}",
        f"urn:uuid:{CANONICAL}",
        f" {CANONICAL}",
        f"{CANONICAL}\n",
        CANONICAL[:-1],
        CANONICAL[:-1] + "g",
        CANONICAL.replace("0", "０"),
        "",
        7,
        None.__class__,
        [],
    ],
)
def test_a_uuid_has_one_spelling(value: Any) -> None:
    assert StrictUUIDField().run_validation(CANONICAL) == UUID(CANONICAL)
    assert refused(StrictUUIDField(), value) == "MALFORMED_UUID"


@pytest.mark.parametrize(
    "character",
    [
        *("\x00", "\x07", "\x1b", "\x7f", "\x85", "\n", "\r", "\t"),  # control
        *("\u061c", "\u200e", "\u200f", "\u202a", "\u202b", "\u202c", "\u202d", "\u202e"),  # bidirectional
        *("\u2066", "\u2067", "\u2068", "\u2069"),  # bidirectional isolates
        *("\u200b", "\u2060", "\ufeff", "\u00ad", "\U000e0041"),  # invisible
        *("\u2028", "\u2029"),  # line breaks to some
        *("\ud800", "\udfff"),  # half surrogate pairs
        *("\ue000", "\uffff", "\U0010ffff", "\u0378"),  # private, no characters, unassigned
    ],
)
def test_text_refuses_characters_that_are_not_text(character: str) -> None:
    assert refused(TextField(max_length=20), f"a{character}b") == "INVALID_CHARACTER"


@pytest.mark.parametrize(
    "text", ["Zoë", "Łukasz Żółć", "王小明", "محمد", "नमस्ते", "می‌خواهم", "👨‍👩‍👧", "O'Brien-Smith, Jr.", "a  b", "½ ﬁ"]
)
def test_text_takes_the_names_people_have(text: str) -> None:
    assert TextField(max_length=50).run_validation(text) == text


def test_text_is_stored_in_composed_form() -> None:
    assert TextField(max_length=3).run_validation("Zoe\u0308") == "Zo\u00eb"


def test_text_is_not_trimmed_behind_the_clients_back() -> None:
    for text in (" a", "a ", "\u00a0a", "a\u3000"):
        assert refused(TextField(max_length=20), text) == "SURROUNDING_SPACE"


def test_text_keeps_to_its_lengths_and_pattern() -> None:
    assert refused(TextField(max_length=3), "abcd") == "TOO_LONG"
    assert refused(TextField(max_length=3), "x" * 60_000) == "TOO_LONG"
    assert refused(TextField(max_length=3, min_length=2), "a") == "TOO_SHORT"
    assert refused(TextField(max_length=3), "") == "BLANK"
    assert TextField(max_length=3, allow_blank=True).run_validation("") == ""
    assert refused(TextField(max_length=9, pattern="[A-Z]{3}"), "USDx") == "MALFORMED"
    assert refused(TextField(max_length=9, pattern="[0-9]+"), "１２") == "MALFORMED"
    assert TextField(max_length=9, pattern="[A-Z]{3}").run_validation("USD") == "USD"


def test_text_has_one_line_unless_more_are_asked_for() -> None:
    assert refused(TextField(max_length=9), "a\nb") == "INVALID_CHARACTER"
    assert TextField(max_length=9, multiline=True).run_validation("a\nb") == "a\nb"
    assert refused(TextField(max_length=9, multiline=True), "a\rb") == "INVALID_CHARACTER"


@pytest.mark.parametrize("value", [7, 1.5, True, [], {}, ["a"]])
def test_text_is_a_string(value: Any) -> None:
    assert refused(TextField(max_length=9), value) == "NOT_A_STRING"
    assert refused(SecretField(), value) == "NOT_A_STRING"


def test_a_secret_is_taken_as_it_is() -> None:
    assert SecretField().run_validation("  pass\twörd\u202e ") == "  pass\twörd\u202e "
    assert refused(SecretField(), "") == "BLANK"
    assert refused(SecretField(), "a\x00b") == "INVALID_CHARACTER"
    assert refused(SecretField(), "a\ud800b") == "INVALID_CHARACTER"
    assert refused(SecretField(max_length=5), "123456") == "TOO_LONG"


class Side(models.TextChoices):
    BUY = "BUY"
    SELL = "SELL"


@pytest.mark.parametrize("value", ["buy", "BUY ", "", "HOLD", 1, True, ["BUY"], {"BUY": 1}])
def test_a_choice_is_spelled_exactly(value: Any) -> None:
    assert StrictChoiceField(Side).run_validation("BUY") == "BUY"
    assert refused(StrictChoiceField(Side), value) == "INVALID_CHOICE"


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-31",
        "2026-01-31T17:00:00",
        "2026-01-31 17:00:00Z",
        "2026-01-31T17:00Z",
        "2026-02-31T17:00:00Z",
        "2026-01-31T25:00:00Z",
        "2026-01-31T17:00:00+25:00",
        "0001-01-01T00:00:00+10:00",
        "9999-12-31T23:59:59-10:00",
        "2026-01-31T17:00:00.1234567Z",
        "２０２６-01-31T17:00:00Z",
        "20260131T170000Z",
        "2026-W05-6T17:00:00Z",
        1769878800,
        "",
        "now",
    ],
)
def test_a_moment_needs_its_offset(value: Any) -> None:
    assert refused(StrictDateTimeField(), value) == "MALFORMED_TIME"


def test_a_moment_arrives_in_utc() -> None:
    expected = datetime(2026, 1, 31, 16, 0, 0, 250_000, tzinfo=UTC)
    assert StrictDateTimeField().run_validation("2026-01-31T17:00:00.25+01:00") == expected
    assert StrictDateTimeField().to_representation(expected) == "2026-01-31T16:00:00.250000Z"


@pytest.mark.parametrize(
    "value", ["2026-02-30", "2026-1-31", "31.01.2026", "2026-01-31T00:00:00Z", "20260131", 20260131]
)
def test_a_day_has_one_spelling(value: Any) -> None:
    assert StrictDateField().run_validation("2026-01-31") == date(2026, 1, 31)
    assert refused(StrictDateField(), value) == "MALFORMED_DATE"


class QuoteTerms(Terms):
    symbol = TextField(max_length=12)
    bid = PriceField()


class OrderTerms(Terms):
    symbol = TextField(max_length=12, pattern="[A-Z]+")
    amount = AmountField()
    note = TextField(max_length=20, required=False)
    stop = PriceField(required=False, allow_null=True)
    quotes = serializers.ListField(child=QuoteTerms(), max_length=3, required=False)
    inner = QuoteTerms(required=False)

    def validate_symbol(self, value: str) -> str:
        if value == "GONE":
            raise serializers.ValidationError("Not traded.", code="not_traded")
        return value

    def validate_amount(self, value: Decimal) -> Decimal:
        if value == Decimal("1.234"):
            raise PrecisionExceeded(amount=value, currency="USD", digits=2)
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("note") == "symbol" and attrs.get("symbol") == "ABC":
            raise serializers.ValidationError({"note": serializers.ErrorDetail("Not both.", code="contradiction")})
        return attrs


VALID = {"symbol": "ABC", "amount": "1.50"}


def complaints(data: Any, **options: Any) -> tuple[str, set[tuple[str, str]]]:
    with pytest.raises(serializers.ValidationError) as caught:
        OrderTerms.read(data, **options)
    problem = invalid(caught.value.detail)
    assert all(set(error) == {"field", "code", "message"} and error["message"] for error in problem.errors)
    return problem.code, {(error["field"], error["code"]) for error in problem.errors}


def test_terms_hold_only_what_was_sent() -> None:
    assert OrderTerms.read(VALID) == {"symbol": "ABC", "amount": Decimal("1.50")}
    assert OrderTerms.read({**VALID, "stop": None})["stop"] is None
    assert OrderTerms.read({"note": "x"}, partial=True) == {"note": "x"}


def test_terms_name_every_field_that_is_wrong() -> None:
    code, errors = complaints({"symbol": None, "note": 7, "stop": "-0", "inner": [], "quotes": {}})
    assert code == "VALIDATION_FAILED"
    assert errors == {
        ("symbol", "NULL"),
        ("amount", "REQUIRED"),
        ("note", "NOT_A_STRING"),
        ("stop", "MALFORMED_DECIMAL"),
        ("inner", "NOT_AN_OBJECT"),
        ("quotes", "NOT_A_LIST"),
    }


def test_terms_refuse_unknown_fields_by_name() -> None:
    assert complaints({**VALID, "ammount": "1", "is_staff": True}) == (
        "UNKNOWN_FIELD",
        {("ammount", "UNKNOWN_FIELD"), ("is_staff", "UNKNOWN_FIELD")},
    )
    code, errors = complaints({**VALID, "amount": 1, "balance": "9"})
    assert code == "VALIDATION_FAILED"
    assert errors == {("amount", "NOT_A_STRING"), ("balance", "UNKNOWN_FIELD")}


def test_terms_give_the_path_of_a_nested_field() -> None:
    quotes = [{"symbol": "A", "bid": "1"}, {"symbol": "B", "bid": 2}, {"symbol": "C", "bid": "1", "ask": "2"}]
    code, errors = complaints({**VALID, "quotes": quotes, "inner": {"symbol": "A", "bid": "1", "x": 1}})
    assert code == "VALIDATION_FAILED"
    assert errors == {
        ("quotes.1.bid", "NOT_A_STRING"),
        ("quotes.2.ask", "UNKNOWN_FIELD"),
        ("inner.x", "UNKNOWN_FIELD"),
    }


def test_terms_limit_their_lists() -> None:
    assert complaints({**VALID, "quotes": [{"symbol": "A", "bid": "1"}] * 4})[1] == {("quotes", "MAX_LENGTH")}


def test_terms_carry_a_refusal_of_shape_on_its_field() -> None:
    assert complaints({**VALID, "amount": "1.234"}) == ("VALIDATION_FAILED", {("amount", "PRECISION_EXCEEDED")})
    assert complaints({**VALID, "symbol": "GONE"}) == ("VALIDATION_FAILED", {("symbol", "NOT_TRADED")})
    assert complaints({**VALID, "note": "symbol"}) == ("VALIDATION_FAILED", {("note", "CONTRADICTION")})


@pytest.mark.parametrize("data", [[], "text", 7, None, [VALID]])
def test_terms_are_an_object(data: Any) -> None:
    with pytest.raises(serializers.ValidationError):
        OrderTerms.read(data)


def test_terms_answer_a_thousand_wrong_fields_briefly() -> None:
    with pytest.raises(serializers.ValidationError) as caught:
        OrderTerms.read({f"{'x' * 200}{number}": 1 for number in range(1_000)})
    problem = invalid(caught.value.detail)
    assert len(problem.errors) <= 50
    assert all(len(error["field"]) <= 64 for error in problem.errors)


def test_terms_are_read_by_many_threads_at_once() -> None:
    def read(number: int) -> bool:
        if number % 2:
            return OrderTerms.read({"symbol": "ABC", "amount": f"{number}"}) == {
                "symbol": "ABC",
                "amount": Decimal(number),
            }
        return complaints({"symbol": "abc", "amount": f"{number}x"})[1] == {
            ("symbol", "MALFORMED"),
            ("amount", "MALFORMED_DECIMAL"),
        }

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(1, 2_000)))
