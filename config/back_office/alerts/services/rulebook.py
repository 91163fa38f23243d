"""Rules come from a file that is reviewed like code; what an alert was raised under stays as it was."""

from __future__ import annotations

from functools import partial
from typing import Any

import structlog
from django.db import transaction

from config.back_office.alerts import rules
from config.back_office.alerts.models import AlertRule
from config.back_office.alerts.rules import RuleChanged, RuleMalformed
from core import audit
from core.audit import Actor
from core.db import retry_on_conflict
from core.ids import HOUSE

logger = structlog.get_logger(__name__)

#: What a version is, besides its name.
FIELDS = ("is_on", "severity", "terms")


@retry_on_conflict
@transaction.atomic(durable=True)
def load_rule(*, document: dict[str, Any], actor: Actor) -> bool:
    """
    Put a version of a rule in force, if it is not known yet; False if it is.

    The newest version counts from now on. Alerts keep the version they were raised under.

    :raises RuleChanged: if this version is known with other terms
    :raises RuleMalformed: if the document is no rule
    """
    rule = _read(document)
    known = AlertRule.objects.filter(code=rule.code, version=rule.version).first()
    if known is not None:
        differs = [name for name in FIELDS if getattr(known, name) != getattr(rule, name)]
        if differs:
            raise RuleChanged(rule=str(rule), differs=", ".join(differs))
        return False
    rule.save(force_insert=True)
    after = {name: getattr(rule, name) for name in ("code", "version", *FIELDS)}
    audit.record("config.alert_rule.loaded", actor=actor, owner=HOUSE, subject=rule, after=after)
    transaction.on_commit(partial(logger.info, "config.alert_rule.loaded", rule_id=str(rule.id)), robust=True)
    return True


def _read(document: dict[str, Any]) -> AlertRule:
    named = f"{document.get('code')} v{document.get('version')}"
    unknown = sorted(document.keys() - {"code", "version", *FIELDS})
    if unknown:
        raise RuleMalformed(rule=named, flaw=f"it has no {', '.join(unknown)}")
    try:
        rule = AlertRule(
            code=AlertRule.Code(document["code"]).value,
            version=document["version"],
            is_on=document["is_on"],
            severity=AlertRule.Severity(document["severity"]).value,
            terms=document["terms"],
        )
        rules.read_terms(rule.code, rule.terms)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise RuleMalformed(rule=named, flaw=f"{type(error).__name__} {error}") from error
    if type(rule.version) is not int or rule.version < 1 or type(rule.is_on) is not bool:
        raise RuleMalformed(rule=named, flaw="a version is a whole number from 1, and is_on is true or false")
    return rule
