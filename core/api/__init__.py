"""
The HTTP edge: one parser, one set of fields, one error shape, one kind of page.

Everything that the REST framework's settings name is here, and nothing here imports `rest_framework.views`: that module
resolves those very names while it is being imported. Views are in `core.api.views`, the API document in
`core.api.schema`.
"""

from core.api.fields import (
    AmountField,
    DecimalText,
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
from core.api.filters import KnownFilters
from core.api.pagination import CursorInvalid, KeysetPagination, page_limit, whole_number
from core.api.parsing import ProblemAwareJSONRenderer, StrictJSONParser, parse_object
from core.api.permissions import HasScope
from core.api.problems import (
    NotAuthenticated,
    PermissionRefused,
    ScopeMissing,
    field_error,
    problem_response,
    respond,
)
from core.api.requests import actor_of, answer_response, claim_for, client_address, idempotency_key, owner_of
from core.api.throttles import DeskThrottle
from core.throttling import RateLimited

__all__ = [
    "AmountField",
    "CursorInvalid",
    "DecimalText",
    "DeskThrottle",
    "HasScope",
    "KeysetPagination",
    "KnownFilters",
    "NotAuthenticated",
    "PermissionRefused",
    "PriceField",
    "ProblemAwareJSONRenderer",
    "RateLimited",
    "ScopeMissing",
    "SecretField",
    "StrictBooleanField",
    "StrictChoiceField",
    "StrictDateField",
    "StrictDateTimeField",
    "StrictIntegerField",
    "StrictJSONParser",
    "StrictUUIDField",
    "Terms",
    "TextField",
    "VolumeField",
    "actor_of",
    "answer_response",
    "claim_for",
    "client_address",
    "field_error",
    "idempotency_key",
    "owner_of",
    "page_limit",
    "parse_object",
    "problem_response",
    "respond",
    "whole_number",
]
