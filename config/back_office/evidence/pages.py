"""Evidence is looked at and never touched: each page reads, and shows what it read."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from config.back_office import cells
from config.back_office.cells import Row, Table, anchor, label, link, money
from config.back_office.evidence import jobs, keys, ledger, orders, trail
from config.back_office.evidence.chains import Finding
from config.back_office.evidence.ledger import Evidence, Side
from config.back_office.evidence.trail import Filters
from config.back_office.masking import may_see_personal_data
from config.back_office.pages import page, show
from core.audit import ActorKind
from core.errors import NotFound
from core.models import AuditEvent
from trading.margin import plain
from trading.models import Deal, Swap
from wallets.models import LedgerTransaction

Facts = list[tuple[str, object]]

TIME = "%Y-%m-%d %H:%M:%S"


# --- Ledger transactions --------------------------------------------------------------------------------------------


@page("ledger/<uuid:pk>/", name="ledger-transaction", title="Transaction", permission="wallets.view_ledgertransaction")
def transaction_page(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """Both sides of a transaction, what caused it, and whether each entry is what was posted."""
    try:
        found = ledger.evidence(pk)
    except NotFound as error:
        raise Http404 from error
    posted = found.transaction
    return show(
        request,
        "evidence/transaction.html",
        title=f"{posted.get_type_display()} {posted.id}",
        evidence=found,
        facts=_transaction_facts(request, found),
        sides=_sides(request, found.sides),
        sums=Table(
            headers=["Currency", "Sum of all entries", ""],
            rows=[
                [currency, money(total, currency), label(*(("Not zero", "danger") if total else ("Zero", "success")))]
                for currency, total in found.sums.items()
            ],
        ),
        causes=Table(headers=["What", "Which", ""], rows=[_cause(request, *cause) for cause in found.causes]),
        events=_events(request, found.events),
        broken=sum(1 for side in found.sides if side.standing is not None and not side.standing.is_intact),
    )


def _transaction_facts(request: HttpRequest, found: Evidence) -> Facts:
    posted = found.transaction
    facts: Facts = [
        ("Type", posted.type),
        ("Environment", posted.environment),
        ("Whose", link(request, posted.owner, posted.owner.name or posted.owner_id)),
        ("Who", _actor(request, posted, trail.people([posted.actor_id]))),
        ("Why", posted.reason or "–"),
        ("Reference", posted.reference or "–"),
        ("Request", _request(request, posted.request_id)),
        ("Posted", posted.posted_at.strftime(TIME)),
    ]
    if posted.effective_at != posted.posted_at:
        facts.append(("Effective", posted.effective_at.strftime(TIME)))
    for name, other in (("Reverses", posted.reverses_id), ("Reversed by", found.reversed_by)):
        if other is not None:
            facts.append((name, link(request, Row("wallets.ledgertransaction", other), other)))
    return facts


def _sides(request: HttpRequest, sides: list[Side]) -> Table:
    headers = ["Wallet", "Kind", "Whose", "Reason", "Amount", "Before", "After", "Version", "Chain", "Next", "Seal"]
    return Table(headers=headers, rows=[_side(request, side) for side in sides])


def _side(request: HttpRequest, side: Side) -> list[Any]:
    entry, wallet = side.entry, side.entry.wallet
    owner = "The house" if side.is_house else wallet.owner.name or wallet.owner_id
    start = [
        link(request, wallet, wallet.number),
        wallet.kind,
        owner if side.is_house else link(request, wallet.owner, owner),
        entry.reason,
        f"{money(entry.amount, entry.currency)} {entry.currency}",
    ]
    if side.standing is None:
        folded = label("Not yet folded", "default") if side.is_unfolded else label("Folded", "default")
        return [*start, "–", "–", "–", folded, "–", "–"]
    return [
        *start,
        money(side.balance_before, entry.currency),
        money(entry.balance_after, entry.currency),
        entry.wallet_version,
        _finding(side.standing.before),
        _finding(side.standing.after),
        _finding(side.standing.seal),
    ]


def _finding(finding: Finding) -> Any:
    return label(finding.word, finding.variant, title=finding.reason)


def _cause(request: HttpRequest, what: str, row: Any) -> list[Any]:
    order = row.position.order_id if isinstance(row, Deal | Swap) else None
    return [what, link(request, row, row), link(request, Row("trading.order", order), "Order") if order else ""]


# --- Orders ---------------------------------------------------------------------------------------------------------


@page("orders/<uuid:pk>/", name="order", title="Order", permission="trading.view_order")
def order_page(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """An order and everything that came of it, in the order in which it happened."""
    try:
        told = orders.story(pk)
    except NotFound as error:
        raise Http404 from error
    order, position = told.order, told.position
    facts: Facts = [
        ("Account", link(request, order.account, order.account.number)),
        ("Environment", order.account.environment),
        ("Whose", link(request, order.owner, order.owner.name or order.owner_id)),
        ("Status", order.status),
        ("Filled at", "–" if order.price_filled is None else plain(order.price_filled)),
        ("Position", "–" if position is None else link(request, position, f"{position.number} {position.status}")),
        ("Client's own id", order.client_order_id or "–"),
        ("Key", "no longer kept" if told.key is None else link(request, told.key, told.key.status)),
    ]
    moments = [
        {
            "moment": moment,
            "link": "" if moment.row is None else cells.address(request, moment.row),
            "ledger": ""
            if moment.transaction is None
            else cells.address(request, Row("wallets.ledgertransaction", moment.transaction)),
        }
        for moment in told.moments
    ]
    title = f"{order.type} {order.side} {plain(order.volume)} {order.instrument_id}"
    return show(request, "evidence/order.html", title=title, facts=facts, moments=moments, is_whole=told.is_whole)


# --- Audit events ---------------------------------------------------------------------------------------------------


@page("audit/", name="audit", title="Audit events", permission="core.view_auditevent")
def audit_page(request: HttpRequest) -> HttpResponseBase:
    """The trail, newest first."""
    filters = Filters.read(request.GET)
    rows = trail.events(filters)
    older = ""
    if len(rows) > trail.PAGE_ROWS:
        rows = rows[: trail.PAGE_ROWS]
        chosen = {"actor": filters.actor_kind, "action": filters.prefix, "q": filters.words, "before": rows[-1].pk}
        older = "?" + urlencode({name: value for name, value in chosen.items() if value})
    return show(
        request,
        "evidence/audit.html",
        title="Audit events",
        filters=filters,
        actor_kinds=trail.ACTOR_KINDS,
        prefixes=trail.PREFIXES,
        events=_events(request, rows),
        older=older,
    )


@page("audit/<uuid:pk>/", name="audit-event", title="Audit event", permission="core.view_auditevent")
def audit_event_page(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """One event: who, what, why, and what changed."""
    try:
        told = trail.event(pk)
    except NotFound as error:
        raise Http404 from error
    in_clear, known = may_see_personal_data(request), trail.people([told.actor_id, told.owner])
    facts: Facts = [
        ("When", told.created_at.strftime(TIME)),
        ("Who", _actor(request, told, known)),
        ("Object", _object(request, told)),
        ("Client", _person(request, told.owner, known)),
        ("Why", told.reason or "–"),
        ("Request", _request(request, told.request_id)),
        ("From", (told.address if in_clear else "•••") if told.address else "–"),
    ]
    changes = Table(
        headers=["Field", "Before", "After", ""],
        rows=[
            [change.name, change.before, change.after, label("Changed", "info") if change.is_changed else ""]
            for change in trail.changes(told, in_clear=in_clear)
        ],
    )
    return show(request, "evidence/audit_event.html", title=told.action, facts=facts, changes=changes)


@page("requests/<str:request_id>/", name="request", title="Request", permission="core.view_auditevent")
def request_page(request: HttpRequest, request_id: str) -> HttpResponseBase:
    """Everything that was told and posted under one request."""
    told, posted = trail.of_request(request_id)
    sees_ledger = request.user.has_perm("wallets.view_ledgertransaction")
    return show(
        request,
        "evidence/request.html",
        title=f"Request {request_id}",
        events=_events(request, told),
        postings=_postings(request, posted if sees_ledger else []),
    )


def _events(request: HttpRequest, events: list[AuditEvent]) -> Table:
    known = trail.people(told.actor_id for told in events)
    return Table(
        headers=["When", "Action", "Who", "Object", "Reason", "Request"],
        rows=[
            [
                told.created_at.strftime(TIME),
                link(request, told, told.action),
                _actor(request, told, known),
                _object(request, told),
                told.reason or "–",
                _request(request, told.request_id),
            ]
            for told in events
        ],
    )


def _postings(request: HttpRequest, posted: list[LedgerTransaction]) -> Table:
    return Table(
        headers=["When", "Type", "Environment", "Reason"],
        rows=[
            [one.posted_at.strftime(TIME), link(request, one, one.type), one.environment, one.reason or "–"]
            for one in posted
        ],
    )


def _object(request: HttpRequest, told: AuditEvent) -> Any:
    return link(request, Row(told.object_type, told.object_id), f"{told.object_type} {told.object_id}")


def _actor(request: HttpRequest, done: AuditEvent | LedgerTransaction, known: dict[UUID, User]) -> Any:
    """People go by their name, a command by its own."""
    if done.actor_kind == ActorKind.SYSTEM:
        return f"{done.actor_kind} {done.request_id}".strip()
    if done.actor_id is None or done.actor_kind == ActorKind.PROVIDER:
        return done.actor_kind
    return _person(request, done.actor_id, known, kind=f"{done.actor_kind} ")


def _person(request: HttpRequest, id_: UUID, known: dict[UUID, User], *, kind: str = "") -> Any:
    """Somebody by name, and a way to them; an id alone of whom nobody knows."""
    person = known.get(id_)
    return f"{kind}{id_}" if person is None else link(request, person, f"{kind}{person.name or id_}")


def _request(request: HttpRequest, request_id: str) -> Any:
    if not request_id or not request.user.has_perm("core.view_auditevent"):
        return request_id or "–"
    return anchor(reverse("admin:request", args=[request_id]), request_id)


# --- Keys and jobs --------------------------------------------------------------------------------------------------


@page("keys/", name="keys", title="Idempotency keys", permission="core.view_idempotencykey")
def keys_page(request: HttpRequest) -> HttpResponseBase:
    """What the newest keys came to."""
    states, operations = keys.by_state()
    wanted = request.GET.get("status", "")
    status = wanted if wanted in states else ""
    owner = trail.as_uuid(request.GET.get("q", "").strip())
    rows = [
        [
            key.created_at.strftime(TIME),
            link(request, key, key.operation),
            label(key.status, _KEY_VARIANTS[key.status]),
            key.response_status,
            "–" if (effect := keys.effect(key)) is None else link(request, effect, f"{effect.model} {effect.pk}"),
            link(request, Row("accounts.user", key.owner), key.owner),
            key.expires_at.strftime(TIME),
        ]
        for key in keys.newest(status=status, owner=owner)
    ]
    return show(
        request,
        "evidence/keys.html",
        title="Idempotency keys",
        states=states,
        operations=Table(headers=["Operation", "Keys"], rows=[[name, n] for name, n in operations.most_common()]),
        counted=keys.NEWEST,
        keys=Table(headers=["When", "Operation", "State", "Answer", "Brought about", "Client", "Expires"], rows=rows),
    )


_KEY_VARIANTS = {"COMPLETED": "success", "FAILED": "warning", "PROCESSING": "danger"}


@page("jobs/", name="jobs", title="Jobs", permission="core.view_jobrun")
def jobs_page(request: HttpRequest) -> HttpResponseBase:
    """Every job that has to run, when it last did, and how that ended."""
    states = jobs.board(timezone.now())
    rows = [
        [
            anchor(reverse("admin:job", args=[state.job.name]), state.job.name),
            state.job.purpose,
            "all the time" if state.job.watched else f"every {_span(state.job.every)}",
            label(state.health.word, state.health.variant),
            "–" if state.run is None else state.run.started_at.strftime(TIME),
            _span(state.duration),
            "–" if state.run is None or not state.job.watched else f"{_span(state.now - state.run.beat_at)} ago",
            "–" if state.run is None else _tallies(state.run.counts),
            "" if state.run is None else state.run.error[:200],
        ]
        for state in states
    ]
    headers = ["Job", "For", "Runs", "State", "Last run", "Took", "Last beat", "Counted", "Error"]
    ailing = sum(state.health.variant == "danger" for state in states)
    return show(
        request,
        "evidence/jobs.html",
        title="Jobs",
        jobs=Table(headers=headers, rows=rows),
        ailing=ailing,
        of=len(states),
    )


@page("jobs/<str:name>/", name="job", title="Job", permission="core.view_jobrun")
def job_page(request: HttpRequest, name: str) -> HttpResponseBase:
    """A job's last runs."""
    runs = jobs.history(name)
    if not runs and name not in {job.name for job in jobs.JOBS}:
        raise Http404
    now = timezone.now()
    rows = [
        [
            link(request, run, run.started_at.strftime(TIME)),
            label(run.status, _RUN_VARIANTS[run.status]),
            _span((run.ended_at or now) - run.started_at),
            _tallies(run.counts),
            run.error[:500],
        ]
        for run in runs
    ]
    table = Table(headers=["Began", "State", "Took", "Counted", "Error"], rows=rows)
    return show(request, "evidence/job.html", title=name, runs=table)


_RUN_VARIANTS = {"SUCCEEDED": "success", "FAILED": "danger", "RUNNING": "info"}


def _tallies(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in jobs.tallies(counts)) or "–"


def _span(length: Any) -> str:
    """A length of time in its two largest units; below a second in milliseconds."""
    if length is None:
        return "–"
    seconds = int(length.total_seconds())
    if seconds < 1:
        return f"{int(length.total_seconds() * 1000)} ms"
    units = [(seconds // 86_400, "d"), (seconds // 3_600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    return " ".join([f"{count} {unit}" for count, unit in units if count][:2])
