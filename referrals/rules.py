"""What must hold before a reward is touched."""

from __future__ import annotations

from core.errors import DomainError


class CommissionNotFound(DomainError):
    code = "COMMISSION_NOT_FOUND"
    message = "There is no such commission."
    status = 404


class CommissionStateRefused(DomainError):
    code = "COMMISSION_STATE_REFUSED"
    message = "The commission is {status}; this cannot be done to it any more."


class PlanChanged(DomainError):
    code = "PLAN_CHANGED"
    message = "Plan {plan} is in use with other terms ({differs}); give better terms a new version."
    status = 409


class PlanMalformed(DomainError):
    code = "PLAN_MALFORMED"
    message = "Plan {plan} cannot be one: {flaw}."
    status = 400
