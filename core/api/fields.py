"""A field takes one spelling of one type: nothing is trimmed, coerced, rounded or guessed on a client's behalf."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from django.core.exceptions import ValidationError as DjangoValidationError
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.fields import SkipField, get_error_detail

from core.api.parsing import NAME_CHARACTERS_MAX
from core.api.problems import UnknownField
from core.errors import DomainError
from core.money import AMOUNT

_UUID = re.compile(r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.ASCII)
_DATE = re.compile(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", re.ASCII)
_TIME = re.compile(
    r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})\Z", re.ASCII
)

#: Unicode's categories of what is no visible text: control, format (reorders or hides its neighbours: two different
#: texts could look the same to staff), surrogate, private use, unassigned, and line separators.
_HOSTILE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: The two format characters that some languages cannot be written without: zero-width non-joiner and joiner.
_JOINERS = frozenset("\u200c\u200d")


class DecimalText(serializers.Field[Decimal, str, str, Any]):
    """
    A decimal as a JSON string of ASCII digits, within the digits of its column; more than 0 unless `allow_zero`.

    What is refused besides: numbers (two JSON readers may round them differently), signs, exponents, leading zeros,
    blanks, other scripts' digits.
    """

    spelling: ClassVar[re.Pattern[str]]
    integer_digits: ClassVar[int]
    decimals: ClassVar[int]

    default_error_messages = {
        "not_a_string": 'A decimal is sent as a string, such as "12.50".',
        "malformed_decimal": 'Use plain digits with an optional point, such as "12.50".',
        "precision_exceeded": "At most {decimals} decimals are accepted.",
        "too_large": "At most {digits} digits are accepted before the point.",
        "not_positive": "This must be more than 0.",
    }

    _loose = re.compile(r"\A(0|[1-9][0-9]*)(?:\.([0-9]+))?\Z", re.ASCII)

    def __init__(self, *, allow_zero: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.allow_zero = allow_zero

    def to_internal_value(self, data: Any) -> Decimal:
        if type(data) is not str:
            self.fail("not_a_string")
        if self.spelling.match(data) is None:
            self._explain(data)
        value = Decimal(data)
        if not value and not self.allow_zero:
            self.fail("not_positive")
        return value

    def to_representation(self, value: Decimal) -> str:
        return format(value, "f")

    def _explain(self, data: str) -> None:
        parts = self._loose.match(data)
        if parts is None:
            self.fail("malformed_decimal")
        if len(parts[1]) > self.integer_digits:
            self.fail("too_large", digits=self.integer_digits)
        self.fail("precision_exceeded", decimals=self.decimals)


class AmountField(DecimalText):
    """An amount of money: at most 12 digits and 8 decimals; the currency's own precision is the service's question."""

    spelling = AMOUNT
    integer_digits = 12
    decimals = 8


class PriceField(DecimalText):
    """A price: at most 10 digits and 10 decimals."""

    spelling = re.compile(r"\A(0|[1-9][0-9]{0,9})(\.[0-9]{1,10})?\Z", re.ASCII)
    integer_digits = 10
    decimals = 10


class VolumeField(DecimalText):
    """A volume in lots: at most 14 digits and 4 decimals."""

    spelling = re.compile(r"\A(0|[1-9][0-9]{0,13})(\.[0-9]{1,4})?\Z", re.ASCII)
    integer_digits = 14
    decimals = 4


class StrictBooleanField(serializers.Field[bool, bool, bool, Any]):
    """JSON `true` or `false`."""

    default_error_messages = {"not_a_boolean": "This is true or false, without quotes."}

    def to_internal_value(self, data: Any) -> bool:
        if type(data) is not bool:
            self.fail("not_a_boolean")
        return data

    def to_representation(self, value: bool) -> bool:
        return value


class StrictIntegerField(serializers.Field[int, int, int, Any]):
    """A whole JSON number between `min_value` and `max_value`; by default whatever a bigint column holds."""

    default_error_messages = {
        "not_an_integer": "This is a whole number, without quotes.",
        "too_small": "This is at least {min_value}.",
        "too_large": "This is at most {max_value}.",
    }

    def __init__(self, *, min_value: int = -(2**63), max_value: int = 2**63 - 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.min_value = min_value
        self.max_value = max_value

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:  # not isinstance: true is an int to Python
            self.fail("not_an_integer")
        if data < self.min_value:
            self.fail("too_small", min_value=self.min_value)
        if data > self.max_value:
            self.fail("too_large", max_value=self.max_value)
        return data

    def to_representation(self, value: int) -> int:
        return value


class StrictUUIDField(serializers.Field[UUID, str, str, Any]):
    """A UUID in its canonical form: lower case, with hyphens, nothing around it."""

    default_error_messages = {"malformed_uuid": "Use the canonical lower-case form, such as {example}."}

    def to_internal_value(self, data: Any) -> UUID:
        if type(data) is not str or _UUID.match(data) is None:
            self.fail("malformed_uuid", example="01890a5d-ac96-774b-bcce-b302099a8057")
        return UUID(data)

    def to_representation(self, value: UUID) -> str:
        return str(value)


class TextField(serializers.Field[str, str, str, Any]):
    """
    One line of text, at most `max_length` characters, stored in Unicode's composed form (NFC).

    Refused: what is not a string, NUL and other control characters (line breaks too, unless `multiline`), characters
    that reorder or hide their neighbours, half surrogate pairs, code points that are not characters, and blanks at
    either end: they are not trimmed either, because the stored text must be the text that was sent.
    """

    default_error_messages = {
        "not_a_string": "This is a string.",
        "blank": "This may not be empty.",
        "too_long": "At most {max_length} characters are accepted.",
        "too_short": "At least {min_length} characters are needed.",
        "invalid_character": "The character U+{codepoint} is not accepted here.",
        "surrounding_space": "Remove the blanks at the start or end.",
        "malformed": "This is not in the expected form.",
    }

    def __init__(
        self,
        *,
        max_length: int,
        min_length: int = 0,
        allow_blank: bool = False,
        multiline: bool = False,
        pattern: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_length = max_length
        self.min_length = min_length
        self.allow_blank = allow_blank
        self.multiline = multiline
        self.pattern = re.compile(pattern, re.ASCII) if pattern else None

    def to_internal_value(self, data: Any) -> str:
        if type(data) is not str:
            self.fail("not_a_string")
        if not data:
            if not self.allow_blank:
                self.fail("blank")
            return data
        if len(data) > 4 * self.max_length:  # before any work that grows with it; composing shortens at most so far
            self.fail("too_long", max_length=self.max_length)
        value = data
        if not (data.isascii() and data.isprintable()):
            self._require_characters(data)
            value = unicodedata.normalize("NFC", data)
        if value != value.strip():
            self.fail("surrounding_space")
        if len(value) > self.max_length:
            self.fail("too_long", max_length=self.max_length)
        if len(value) < self.min_length:
            self.fail("too_short", min_length=self.min_length)
        if self.pattern is not None and self.pattern.fullmatch(value) is None:
            self.fail("malformed")
        return value

    def to_representation(self, value: str) -> str:
        return value

    def _require_characters(self, text: str) -> None:
        for character in text:
            if self.multiline and character == "\n":
                continue
            if unicodedata.category(character) in _HOSTILE and character not in _JOINERS:
                self.fail("invalid_character", codepoint=f"{ord(character):04X}")


class SecretField(serializers.Field[str, str, str, Any]):
    """A password or token: any string without NUL and half surrogate pairs, taken as it is and never shown again."""

    default_error_messages = {
        "not_a_string": "This is a string.",
        "blank": "This may not be empty.",
        "too_long": "At most {max_length} characters are accepted.",
        "invalid_character": "It has a character that is not accepted here.",
    }

    def __init__(self, *, max_length: int = 128, **kwargs: Any) -> None:
        kwargs.setdefault("write_only", True)
        super().__init__(**kwargs)
        self.max_length = max_length

    def to_internal_value(self, data: Any) -> str:
        if type(data) is not str:
            self.fail("not_a_string")
        if not data:
            self.fail("blank")
        if len(data) > self.max_length:
            self.fail("too_long", max_length=self.max_length)
        if any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in data):
            self.fail("invalid_character")
        return data


class StrictChoiceField(serializers.Field[str, str, str, Any]):
    """One of the given strings, spelled exactly; takes a `TextChoices` class or a list of strings."""

    default_error_messages = {"invalid_choice": "Use one of: {choices}."}

    def __init__(self, choices: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        values = getattr(choices, "values", choices)
        #: Named as the API document's generator expects it.
        self.choices: dict[str, str] = {str(value): str(value) for value in values}

    def to_internal_value(self, data: Any) -> str:
        if type(data) is not str or data not in self.choices:
            self.fail("invalid_choice", choices=", ".join(self.choices))
        return data

    def to_representation(self, value: str) -> str:
        return str(value)


class StrictDateTimeField(serializers.Field[datetime, str, str, Any]):
    """ISO 8601 with seconds and an offset, such as 2026-01-31T17:00:00Z; without an offset nobody knows when it is."""

    default_error_messages = {"malformed_time": "Use a time with its offset, such as 2026-01-31T17:00:00Z."}

    def to_internal_value(self, data: Any) -> datetime:
        if type(data) is not str or _TIME.match(data) is None:
            self.fail("malformed_time")
        try:
            return datetime.fromisoformat(data).astimezone(UTC)
        except (ValueError, OverflowError):  # the 31st of February; a year that its offset takes out of range
            self.fail("malformed_time")

    def to_representation(self, value: datetime) -> str:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


class StrictDateField(serializers.Field[date, str, str, Any]):
    """A day as YYYY-MM-DD."""

    default_error_messages = {"malformed_date": "Use a date such as 2026-01-31."}

    def to_internal_value(self, data: Any) -> date:
        if type(data) is not str or _DATE.match(data) is None:
            self.fail("malformed_date")
        try:
            return date.fromisoformat(data)
        except ValueError:
            self.fail("malformed_date")

    def to_representation(self, value: date) -> str:
        return value.isoformat()


class Terms(serializers.Serializer[Any]):
    """
    What a client asks for: the base of every input serializer.

    A field that is not declared is refused by name (UNKNOWN_FIELD) rather than ignored: a client that sends `ammount`
    or `is_staff` must hear about it. A `DomainError` with status 400 from a field or from `validate_<field>` becomes
    that field's error. Nested terms are the same class again; lists are `ListField(child=..., max_length=...)`.
    """

    default_error_messages = {"not_an_object": "This is a JSON object."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, Mapping):
            raise ValidationError({"non_field_errors": [_detail(self, "not_an_object")]})
        values: dict[str, Any] = {}
        errors: dict[str, Any] = {}
        known = set()
        for field in self._writable_fields:
            name = str(field.field_name)
            known.add(name)
            try:
                value = self._value_of(field, name, data)
            except SkipField:
                continue
            except ValidationError as error:
                errors[name] = error.detail
            else:
                self.set_value(values, field.source_attrs, value)
        for name in data:
            if name not in known:
                unknown = ErrorDetail("This operation has no such field.", code=UnknownField.code)
                errors[str(name)[:NAME_CHARACTERS_MAX]] = [unknown]
        if errors:
            raise ValidationError(errors)
        return values

    def _value_of(self, field: Any, name: str, data: Any) -> Any:
        try:
            value = field.run_validation(field.get_value(data))
            check = getattr(self, f"validate_{name}", None)
            return value if check is None else check(value)
        except DjangoValidationError as error:
            raise ValidationError(get_error_detail(error)) from None
        except DomainError as error:
            if error.status != 400:
                raise
            raise ValidationError([ErrorDetail(error.detail, code=error.code)]) from None

    @classmethod
    def read(cls, data: Any, *, partial: bool = False) -> dict[str, Any]:
        """
        The validated terms in `data`, without the cost of building a serializer for each request.

        Fields see no request and no user here: whose wallet it is is the service's question.

        :raises rest_framework.exceptions.ValidationError: which the exception handler turns into a problem document
        """
        checked: dict[str, Any] = _shape(cls, partial).run_validation(data)
        return checked


@functools.cache
def _shape(terms: type[Terms], partial: bool) -> Terms:
    """One bound instance per class: reading leaves nothing behind in it, so all threads may share it."""
    shape = terms(partial=partial)
    assert shape.fields is not None, "binds the fields now, while nobody else looks"
    return shape


def _detail(serializer: Terms, key: str) -> ErrorDetail:
    return ErrorDetail(str(serializer.error_messages[key]), code=key)
