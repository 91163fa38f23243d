"""What a rule asks for, read from data in the types that detection reckons with; and what may be done to an alert."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from config.back_office.alerts.models import Alert, AlertRule
from core.errors import DomainError
from core.money import CURRENCIES

Code = AlertRule.Code
Status = Alert.Status


class AlertRefusal(DomainError):
    """What a client asks for never meets one of these, so no client reads about them."""

    code = "ALERT_REFUSED"
    message = "This cannot be done to an alert."
    status = 409
    is_public = False


class RuleChanged(AlertRefusal):
    code = "ALERT_RULE_CHANGED"
    message = "{rule} is known with another {differs}; a change is a new version."


class RuleMalformed(AlertRefusal):
    code = "ALERT_RULE_MALFORMED"
    message = "{rule} is no rule: {flaw}."


# --- Terms ----------------------------------------------------------------------------------------------------------


def _amounts(value: Any) -> dict[str, Decimal]:
    """By currency, each of ours: where one is missing, that currency would go unwatched."""
    amounts = {currency: _positive(amount) for currency, amount in value.items()}
    if amounts.keys() != CURRENCIES.keys():
        raise ValueError(f"amounts are wanted in {', '.join(CURRENCIES)}")
    return amounts


def _positive(value: Any) -> Decimal:
    number = Decimal(value)
    if not (number.is_finite() and number > 0):
        raise ValueError(f"{value} is not positive")
    return number


def _percent(value: Any) -> Decimal:
    number = _positive(value)
    if number > 100:
        raise ValueError(f"{value} is more than 100 percent")
    return number


def _count(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{value} is not a whole number from {low} to {high}")
        return value

    return read


def _networks(value: Any) -> list[str]:
    return [str(ipaddress.ip_network(text)) for text in value]


_DAYS = _count(1, 3_650)
_PEOPLE = _count(2, 1_000)

#: What a version of each rule has to say.
TERMS: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    Code.LARGE_DEPOSIT: {"amounts": _amounts},
    Code.STRUCTURING: {"amounts": _amounts, "deposits_min": _count(2, 1_000), "days": _DAYS},
    Code.IN_AND_OUT: {"amounts": _amounts, "percent": _percent, "lots": _positive, "days": _DAYS},
    Code.DORMANT_WAKING: {"amounts": _amounts, "days": _DAYS, "days_awake": _DAYS},
    Code.SHARED_BANK_ACCOUNT: {"people_min": _PEOPLE},
    Code.SHARED_ADDRESS: {
        "people_min": _PEOPLE,
        "people_max": _PEOPLE,
        "days": _DAYS,
        "networks_passed_over": _networks,
    },
    Code.REFERRAL_RING: {
        "referees_min": _count(1, 1_000),
        "people_max": _PEOPLE,
        "days": _DAYS,
        "networks_passed_over": _networks,
    },
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A version of a rule that is in force, with its terms as `TERMS` reads them."""

    row: AlertRule
    terms: Mapping[str, Any]


def read_terms(code: str, terms: Mapping[str, Any]) -> dict[str, Any]:
    """:raises ValueError, TypeError, ArithmeticError: if these are not the terms of such a rule"""
    readers = TERMS[code]
    if terms.keys() != readers.keys():
        raise ValueError(f"its terms are {', '.join(readers)}")
    return {name: read(terms[name]) for name, read in readers.items()}


def in_force() -> dict[str, Rule]:
    """Per code the newest version, where that one is on."""
    newest = AlertRule.objects.order_by("code", "-version").distinct("code")
    return {row.code: Rule(row, read_terms(row.code, row.terms)) for row in newest if row.is_on}


# --- What may be done to an alert -----------------------------------------------------------------------------------

#: Where each step leads, by where the alert is. What has been escalated stays so until somebody else closes it, and is
#: escalated again when it is reopened.
TRANSITIONS: Mapping[str, Mapping[str, str]] = {
    "assign": {
        Status.OPEN: Status.ASSIGNED,
        Status.ASSIGNED: Status.ASSIGNED,
        Status.ESCALATED: Status.ESCALATED,
    },
    "note": {status: status for status in Status},
    "escalate": {Status.ASSIGNED: Status.ESCALATED},
    "close": {Status.ASSIGNED: Status.CLOSED, Status.ESCALATED: Status.CLOSED},
    "reopen": {Status.CLOSED: Status.OPEN},
}


class AlertNotFound(AlertRefusal):
    code = "ALERT_NOT_FOUND"
    message = "There is no such alert."
    status = 404


class AlertStateRefused(AlertRefusal):
    code = "ALERT_STATE_REFUSED"
    message = "The alert is {status}; {step} is possible only from {possible_from}."


class AlertTaken(AlertRefusal):
    code = "ALERT_TAKEN"
    message = "Somebody else has changed who works on this alert; look at it again."


class AlertNotYours(AlertRefusal):
    code = "ALERT_NOT_YOURS"
    message = "Only whoever the alert is assigned to may do this; have it assigned to you first."


class AlertNeedsSomebodyElse(AlertRefusal):
    code = "ALERT_NEEDS_SOMEBODY_ELSE"
    message = "You escalated this alert; somebody else closes it."


class AssigneeUnfit(AlertRefusal):
    code = "ALERT_ASSIGNEE_UNFIT"
    message = "This person may not work on alerts."


def require_step(alert: Alert, step: str) -> str:
    """
    Where a step leads from where the alert is.

    :raises AlertStateRefused: if it cannot be taken from there
    """
    way = TRANSITIONS[step]
    if alert.status not in way:
        raise AlertStateRefused(status=alert.status, step=step, possible_from=" or ".join(way))
    if step == "reopen" and alert.escalated_by_id is not None:
        return Status.ESCALATED
    return way[alert.status]


def steps_from(alert: Alert) -> frozenset[str]:
    """The steps that an alert's state allows, whoever takes them."""
    return frozenset(step for step, way in TRANSITIONS.items() if alert.status in way)
