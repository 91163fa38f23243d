"""Pages neither skip nor repeat a row, whatever is added while somebody turns them."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from core.models import JobRun
from tests import database
from tests.core import edge

pytestmark = [pytest.mark.urls("tests.core.edge"), pytest.mark.usefixtures("db")]

NOTES = "/api/v1/notes"


def add(*names: str) -> None:
    for name in names:
        JobRun.objects.create(name=name)


def get(url: str = NOTES) -> Any:
    response = edge.client().get(url)
    assert response.status_code == 200, response.content
    return response.json()


def names(page: Any) -> list[str]:
    return [row["name"] for row in page["results"]]


def test_an_empty_list_is_one_page() -> None:
    assert get() == {"results": [], "next": None, "previous": None}


def test_newest_come_first_and_links_are_complete() -> None:
    add(*"abcde")
    page = get(f"{NOTES}?limit=2")
    assert names(page) == ["e", "d"]
    assert page["previous"] is None
    assert page["next"].startswith("http://testserver/api/v1/notes?")
    assert parse_qs(urlsplit(page["next"]).query)["limit"] == ["2"]


def test_pages_go_forth_and_back_to_the_same_rows() -> None:
    add(*"abcde")
    first = get(f"{NOTES}?limit=2")
    second = get(first["next"])
    third = get(second["next"])
    assert [names(first), names(second), names(third)] == [["e", "d"], ["c", "b"], ["a"]]
    assert third["next"] is None
    back = get(third["previous"])
    assert names(back) == ["c", "b"]
    home = get(back["previous"])
    assert names(home) == ["e", "d"]
    assert home["previous"] is None
    assert names(get(home["next"])) == ["c", "b"]


def test_a_last_page_that_is_full_has_no_next() -> None:
    add(*"abcd")
    second = get(get(f"{NOTES}?limit=2")["next"])
    assert names(second) == ["b", "a"]
    assert second["next"] is None


def test_rows_added_meanwhile_shift_nothing() -> None:
    add(*"abcd")
    first = get(f"{NOTES}?limit=2")
    add("new")
    assert names(get(first["next"])) == ["b", "a"]


def test_a_row_deleted_meanwhile_shifts_nothing() -> None:
    add(*"abcd")
    first = get(f"{NOTES}?limit=2")
    with database.as_owner():
        JobRun.objects.filter(name="c").delete()
    assert names(get(first["next"])) == ["b", "a"]


def test_the_view_may_order_by_another_unique_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge.NotesView, "ordering", "started_at", raising=False)
    add(*"abc")
    first = get(f"{NOTES}?limit=2")
    assert names(first) == ["a", "b"]
    assert names(get(first["next"])) == ["c"]


def test_the_default_page_has_fifty_rows() -> None:
    JobRun.objects.bulk_create(JobRun(name="row") for _ in range(60))
    assert len(get()["results"]) == 50
    assert len(get(f"{NOTES}?limit=200")["results"]) == 60


@pytest.mark.parametrize("limit", ["0", "-1", "201", "abc", "", "1.5", "1e2", "１０", "0x10", "999999999999999999999"])
def test_a_limit_out_of_range_is_refused(limit: str) -> None:
    response = edge.client().get(NOTES, {"limit": limit})
    assert response.status_code == 400
    assert response.json()["code"] == "VALIDATION_FAILED"
    assert response.json()["errors"][0]["field"] == "limit"


def cursor_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["cursor"][0]


def forged() -> list[str]:
    unsigned = urlsafe_b64encode(b"x" * 12 + b"n01890a5d-ac96-774b-bcce-b302099a8057").decode()
    return ["", "x", "*", "=", "%00", "é", "n", "AAAA", unsigned, unsigned.rstrip("="), "A" * 5_000]


@pytest.mark.parametrize("cursor", forged())
def test_a_cursor_that_was_not_made_here_is_refused(cursor: str) -> None:
    response = edge.client().get(NOTES, {"cursor": cursor})
    assert (response.status_code, response.json()["code"]) == (400, "CURSOR_INVALID")


def test_a_cursor_changed_by_one_bit_is_refused() -> None:
    add(*"abc")
    cursor = cursor_of(get(f"{NOTES}?limit=1")["next"])
    data = bytearray(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    api = edge.client()
    for index in range(len(data)):
        data[index] ^= 1
        changed = urlsafe_b64encode(bytes(data)).decode()
        assert api.get(NOTES, {"cursor": changed}).json()["code"] == "CURSOR_INVALID"
        data[index] ^= 1


def test_a_cursor_of_another_list_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    add(*"abc")
    cursor = cursor_of(get(f"{NOTES}?limit=1")["next"])
    assert edge.client().get(f"{NOTES}/other", {"cursor": cursor}).json()["code"] == "CURSOR_INVALID"
    monkeypatch.setattr(edge.NotesView, "ordering", "started_at", raising=False)
    assert edge.client().get(NOTES, {"cursor": cursor}).json()["code"] == "CURSOR_INVALID"
