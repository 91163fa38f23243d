"""What core keeps, staff can read and nobody can change."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection, models
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from core.admin import ROWS_COUNTED_MAX, CappedPaginator, ReadOnlyAdmin
from core.audit import Actor, record
from core.ids import HOUSE
from core.models import AuditEvent, IdempotencyKey, JobRun, KillSwitch, ThrottleWindow
from core.throttling import throttle
from tests import cast
from tests.core import effects

pytestmark = pytest.mark.urls("tests.core.edge")

MODELS = [AuditEvent, IdempotencyKey, JobRun, KillSwitch, ThrottleWindow]


@pytest.fixture
def carol(db: None) -> Client:
    """A superuser in the admin: who may do anything, may change nothing here."""
    JobRun.objects.create(name="charge_swaps", counts={"charged": 3})
    KillSwitch.objects.create(scope="TRADING", reason="maintenance")
    effects.take_note(name="noted", claim=effects.claim())
    record("test.happened", actor=Actor.system(), owner=HOUSE, subject=KillSwitch.objects.get(), reason="because")
    throttle("money", "alice")
    client = Client()
    client.force_login(cast.carol_staff().user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def url(model: type[models.Model], *parts: Any) -> str:
    return "/".join(("/admin", "core", str(model._meta.model_name), *map(str, parts), ""))


@pytest.mark.parametrize("model", MODELS)
def test_nobody_adds_changes_or_deletes(model: type[models.Model]) -> None:
    site = admin.site._registry[model]
    assert isinstance(site, ReadOnlyAdmin)
    request: Any = RequestFactory().get("/admin/")
    request.user = get_user_model()(is_active=True, is_staff=True, is_superuser=True)
    assert not site.has_add_permission(request)
    assert not site.has_change_permission(request)
    assert not site.has_delete_permission(request)
    assert site.has_view_permission(request)
    assert site.get_actions(request) == {}
    assert site.show_full_result_count is False
    assert site.date_hierarchy is None


@pytest.mark.parametrize("model", MODELS)
def test_lists_can_be_read(carol: Client, model: type[models.Model]) -> None:
    page = carol.get(url(model))
    assert page.status_code == 200
    assert b"delete_selected" not in page.content
    assert url(model, "add").encode() not in page.content
    assert page.headers["Cache-Control"]


@pytest.mark.parametrize("model", [AuditEvent, IdempotencyKey, JobRun, KillSwitch])
def test_rows_can_be_read_and_a_posted_change_is_refused(carol: Client, model: type[models.Model]) -> None:
    row = model._default_manager.order_by("pk")[0]
    before = list(model._default_manager.order_by("pk").values())
    assert carol.get(url(model, row.pk, "change")).status_code == 200
    assert carol.post(url(model, row.pk, "change"), {"reason": "changed", "name": "changed"}).status_code == 403
    assert carol.post(url(model, row.pk, "delete"), {"post": "yes"}).status_code == 403
    assert carol.post(url(model, "add"), {"scope": "x", "name": "x"}).status_code == 403
    bulk = {"action": "delete_selected", "_selected_action": str(row.pk), "post": "yes"}
    carol.post(url(model), bulk)
    assert list(model._default_manager.order_by("pk").values()) == before


@pytest.mark.parametrize("model", MODELS)
def test_a_search_for_anything_finds_an_answer(carol: Client, model: type[models.Model]) -> None:
    for words in ("maintenance", str(effects.ALICE), "' OR 1=1", "\u202e"):
        assert carol.get(url(model), {"q": words}).status_code == 200


def test_a_key_shows_neither_its_digest_nor_the_stored_answer(carol: Client) -> None:
    key = IdempotencyKey.objects.get()
    page = carol.get(url(IdempotencyKey, key.pk, "change")).content.decode()
    assert str(key.effect_id) in page
    assert "noted" not in page
    assert "digest" not in page.lower()


def test_counting_stops_where_nobody_pages_any_more(db: None) -> None:
    JobRun.objects.bulk_create([JobRun(name="x") for _ in range(20)])
    paginator = CappedPaginator(JobRun.objects.order_by("-pk"), 5)
    with CaptureQueriesContext(connection) as queries:
        assert paginator.count == 20
    assert str(ROWS_COUNTED_MAX) in queries[0]["sql"]
    assert len(paginator.page(4).object_list) == 5


def test_permissions_to_look_exist(db: None) -> None:
    codenames = {f"view_{model._meta.model_name}" for model in MODELS}
    assert Permission.objects.filter(codename__in=codenames).count() == len(MODELS)
