"""Who is woken up finds what to do: every alert has its section, and asks for what the desk really tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands
from prometheus_client import Metric
from prometheus_client.metrics import MetricWrapperBase

from core import metrics
from core.errors import REGISTRY as REFUSALS
from scripts import environment

ROOT = environment.ROOT
PAGE = (ROOT / "docs" / "OPERATIONS.md").read_text()
RULES: list[dict[str, Any]] = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"][0]["rules"]
OURS = ("core", "wallets", "accounts", "trading", "referrals", "config")


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    sections = PAGE.split("## Every alert")[1]
    assert re.findall(r"^### (\w+)$", sections, re.MULTILINE) == [rule["alert"] for rule in RULES]
    for rule in RULES:
        said = sections.split(f"### {rule['alert']}\n\n")[1]
        assert said.startswith(rule["labels"]["severity"].title()), rule["alert"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_a_metric_that_is_told(rule: dict[str, Any]) -> None:
    told = {sample for family in _families() for sample in _names(family.name, family.type)}
    asked = set(re.findall(r"desk_\w+", rule["expr"]))
    assert asked <= told
    assert asked or rule["expr"] == 'up{job="desk"} == 0'


def _families() -> Iterator[Metric]:
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            yield from metric.describe()


def _names(name: str, kind: str) -> set[str]:
    return {f"{name}_total"} if kind == "counter" else {f"{name}_bucket"} if kind == "histogram" else {name}


def test_alerts_about_jobs_name_jobs_that_exist() -> None:
    commands = set(get_commands())
    for rule in RULES:
        for pattern in re.findall(r'job=~"([^"]+)"', rule["expr"]):
            for name in pattern.split("|"):
                assert [command for command in commands if re.fullmatch(name, command)], name


def test_alerts_name_codes_that_clients_can_get() -> None:
    codes = {code for rule in RULES for code in re.findall(r'code="(\w+)"', rule["expr"])}
    assert codes
    assert codes <= set(REFUSALS)


def test_commands_on_the_page_exist() -> None:
    named = set(re.findall(r"manage\.py (\w+)", PAGE))
    assert {"migrate", "seal_ledger", "reconcile"} < named
    assert named <= set(get_commands())


def test_every_job_that_ends_by_itself_is_in_cron_or_run_by_hand() -> None:
    """What an operator never hears of is never run."""
    ours = {name for name, app in get_commands().items() if app.split(".")[0] in OURS}
    once = {"migrate", "demo_cast", "reencrypt_bank_numbers", "export_client", "export_instrument", "check_export"}
    unheard = {name for name in ours - once if name not in PAGE}
    assert unheard == set()


def test_errors_in_the_log_are_explained() -> None:
    """Whatever is logged as an error has its name on the page."""
    said = {
        name
        for path in _sources()
        for name in re.findall(r'logger\.(?:error|exception|critical)[\s(,]+"([\w.]+)"', path.read_text())
    }
    assert "core.request.failed" in said
    missing = {name for name in said if name not in PAGE}
    assert missing == set()


def _sources() -> list[Path]:
    return [path for room in OURS for path in (ROOT / room).rglob("*.py")]
