"""Trading over REST: each view parses, makes one service call, and renders."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core import snapshot
from core.api import actor_of, owner_of, page_limit, whole_number
from core.api.filters import ChoiceFilter, MomentFilter, UUIDFilter
from core.api.pagination import LIMIT_DEFAULT, LIMIT_MAX
from core.api.views import APIView, ListAPIView, OperationView
from core.audit import Actor
from core.errors import NotFound
from core.idempotency import Answer, Claim
from core.ids import uuid7_at
from trading import engine, errors, selectors, serializers
from trading.explain import explain
from trading.feeds import PushedFeed
from trading.market import Market
from trading.models import SIDES, Deal, MarginEvent, Order, Position, QuoteTick, Swap
from trading.services import accounts as account_services
from trading.services import changes as change_services
from trading.services import orders as order_services
from trading.services import positions as position_services
from trading.services import quotes as quote_services
from wallets.ledger import WalletNotFound


class _MarketList(ListAPIView[Any]):
    """A page of rows that are shown beside the market they were read with."""

    scopes: ClassVar[dict[str, str | None]] = {"GET": "read"}

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        market = selectors.market(timezone.now())
        return self.get_paginated_response([self.document(row, market) for row in page or []])

    def document(self, row: Any, market: Market) -> dict[str, Any]:
        raise NotImplementedError


# --- Market data ----------------------------------------------------------------------------------------------------


class InstrumentListView(APIView):
    """Everything that can be traded, with its terms and its latest price."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="instruments_list", responses=serializers.InstrumentList)
    def get(self, request: Request) -> Response:
        market = selectors.market(timezone.now())
        rows = sorted(market.instruments.values(), key=lambda instrument: instrument.symbol)
        results = [serializers.instrument_document(row, market) for row in rows]
        return Response({"results": results, "next": None, "previous": None})


class InstrumentView(APIView):
    """One instrument's terms and latest price."""

    scopes = {"GET": "read"}

    @extend_schema(responses=serializers.InstrumentDocument)
    def get(self, request: Request, symbol: str) -> Response:
        instrument = selectors.instrument(symbol)
        return Response(serializers.instrument_document(instrument, selectors.market(timezone.now())))


class QuotesView(APIView):
    """The latest prices; and where a price feed with a market-data token delivers them, many symbols a call."""

    scopes = {"GET": "read", "POST": "market_data"}
    throttle_scope = "quotes"

    @extend_schema(operation_id="quotes_list", responses=serializers.QuoteList)
    def get(self, request: Request) -> Response:
        market = selectors.market(timezone.now())
        symbols = sorted(market.ticks)
        results = [serializers.quote_document(market.instruments[symbol], market) for symbol in symbols]
        return Response({"results": results, "next": None, "previous": None})

    @extend_schema(request=serializers.QuotesTerms, responses=serializers.QuotesReceipt)
    def post(self, request: Request) -> Response:
        now = timezone.now()
        feed = PushedFeed.of(serializers.QuotesTerms.read(request.data)["quotes"], now=now)
        recorded = quote_services.record_quotes(quotes=feed.quotes, source=feed.source, now=now, whole=True)
        recorded.require_possible()
        return Response(serializers.quotes_receipt(recorded, received=len(feed.quotes)))


class QuoteHistoryFilter(filters.FilterSet):
    """`from` is included and `to` is not, both on our clock: when the price became the latest."""

    to = MomentFilter(method="before")

    class Meta:
        model = QuoteTick
        fields: ClassVar[list[str]] = []

    # A tick's id begins with the moment it was received, so the key alone answers both.

    def since(self, rows: Any, name: str, moment: datetime) -> Any:
        return rows.filter(id__gte=uuid7_at(moment, 0))

    def before(self, rows: Any, name: str, moment: datetime) -> Any:
        return rows.filter(id__lt=uuid7_at(moment, 0))


# `from` is a word of Python's own, so it cannot be written as a class attribute.
QuoteHistoryFilter.base_filters["from"] = MomentFilter(method="since")


class QuoteHistoryView(ListAPIView[Any]):
    """Every price the desk had of an instrument and could have traded on, newest first."""

    queryset = QuoteTick.objects.none()  # for the API document, which has no symbol
    serializer_class = serializers.QuoteTickDocument
    filterset_class = QuoteHistoryFilter
    scopes: ClassVar[dict[str, str | None]] = {"GET": "read"}

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        instrument = selectors.instrument(kwargs["symbol"])
        page = self.paginate_queryset(self.filter_queryset(selectors.quote_history(instrument.symbol)))
        return self.get_paginated_response([serializers.tick_document(row, instrument) for row in page or []])


# --- Orders ---------------------------------------------------------------------------------------------------------


class PreviewView(APIView):
    """What an order would do if it were placed now: the same reckoning as execution, and nothing is changed."""

    scopes = {"POST": "read"}
    refusals = (errors.TradingAccountNotFound, errors.InstrumentNotFound)

    @extend_schema(request=serializers.PreviewTerms, responses=serializers.PreviewDocument)
    def post(self, request: Request) -> Response:
        terms = serializers.PreviewTerms.read(request.data)
        return Response(
            order_services.preview_order(
                owner=owner_of(request),
                account=terms["account"],
                symbol=terms["symbol"],
                instruction=serializers.instruction_of(terms),
            )
        )


#: An id is made moments before the row is written; so much earlier or later at most, whichever clock told the time.
ID_SLACK = timedelta(minutes=5)


class _MadeBetween(filters.FilterSet):
    """`from` is included and `to` is not. Ids are by time too, so the key finds the rows and the column decides."""

    made_at: ClassVar[str]

    to = MomentFilter(method="before")

    def since(self, rows: Any, name: str, moment: datetime) -> Any:
        return rows.filter(**{"id__gte": uuid7_at(_moved(moment, -ID_SLACK), 0), f"{self.made_at}__gte": moment})

    def before(self, rows: Any, name: str, moment: datetime) -> Any:
        return rows.filter(**{"id__lt": uuid7_at(_moved(moment, ID_SLACK), 0), f"{self.made_at}__lt": moment})


def _moved(moment: datetime, by: timedelta) -> datetime:
    """At the ends of all times there is nothing beyond."""
    try:
        return moment + by
    except OverflowError:
        return moment


class OrderFilter(_MadeBetween):
    """`from` and `to` are about when an order was placed."""

    made_at = "created_at"

    account = filters.CharFilter(field_name="account__number")
    symbol = filters.CharFilter(field_name="instrument_id")
    side = ChoiceFilter(choices=SIDES)
    type = ChoiceFilter(choices=Order.Type.choices)
    status = ChoiceFilter(choices=Order.Status.choices)
    client_order_id = filters.CharFilter()

    class Meta:
        model = Order
        fields: ClassVar[list[str]] = []


OrderFilter.base_filters["from"] = MomentFilter(method="since")


class OrdersView(OperationView, _MarketList):
    """
    Place an order, or list one's orders, newest first, the rejected ones included.

    A rejection is kept as an order too; its id is in the problem's context.
    """

    http_method_names = ["get", "post", "head", "options"]
    operation = order_services.OPEN
    terms = serializers.OrderTerms
    receipt = serializers.OrderReceipt
    serializer_class = serializers.OrderDocument
    filterset_class = OrderFilter
    scopes: ClassVar[dict[str, str | None]] = {"GET": "read", "POST": "trade"}
    throttle_scope = "money"
    refusals = errors.OPENING

    def get_queryset(self) -> Any:
        return selectors.orders(owner_of(self.request))

    def document(self, row: Order, market: Market) -> dict[str, Any]:
        return serializers.order_document(row, market)

    def act(self, *, request: Request, terms: dict[str, Any], claim: Claim, actor: Actor, **path: Any) -> Answer:
        return order_services.place_order(
            account=terms["account"],
            symbol=terms["symbol"],
            instruction=serializers.instruction_of(terms),
            client_order_id=terms["client_order_id"],
            claim=claim,
            actor=actor,
        )


class OrderView(APIView):
    """One order; while it waits for its price, its prices and its expiry may be changed, or it may be cancelled."""

    scopes = {"GET": "read", "PATCH": "trade", "DELETE": "trade"}
    throttle_scope = "money"
    refusals = errors.MODIFYING

    @extend_schema(responses=serializers.OrderDocument)
    def get(self, request: Request, order_id: UUID) -> Response:
        return self._shown(selectors.order(owner_of(request), order_id))

    @extend_schema(request=serializers.OrderChangeTerms, responses=serializers.OrderDocument)
    def patch(self, request: Request, order_id: UUID) -> Response:
        changes: Any = serializers.OrderChangeTerms.read(request.data)
        owner, actor = owner_of(request), actor_of(request)
        return self._shown(change_services.modify_order(owner=owner, order_id=order_id, changes=changes, actor=actor))

    @extend_schema(request=None, responses={200: serializers.OrderDocument})
    def delete(self, request: Request, order_id: UUID) -> Response:
        """Cancel it. Neither a closed market nor a freeze stands in the way; once cancelled it stays so."""
        owner, actor = owner_of(request), actor_of(request)
        return self._shown(change_services.cancel_order(owner=owner, order_id=order_id, actor=actor))

    def _shown(self, order: Order) -> Response:
        return Response(serializers.order_document(order, selectors.market(timezone.now())))


# --- Positions ------------------------------------------------------------------------------------------------------


class PositionFilter(filters.FilterSet):
    """What ends in `from` is included and what ends in `to` is not."""

    account = filters.CharFilter(field_name="account__number")
    symbol = filters.CharFilter(field_name="instrument_id")
    side = ChoiceFilter(choices=SIDES)
    status = ChoiceFilter(choices=Position.Status.choices)
    opened_from = MomentFilter(field_name="opened_at", lookup_expr="gte")
    opened_to = MomentFilter(field_name="opened_at", lookup_expr="lt")
    closed_from = MomentFilter(field_name="closed_at", lookup_expr="gte")
    closed_to = MomentFilter(field_name="closed_at", lookup_expr="lt")

    class Meta:
        model = Position
        fields: ClassVar[list[str]] = []


class PositionListView(_MarketList):
    """A client's positions, newest first; `?status=OPEN` for what is open."""

    serializer_class = serializers.PositionDocument
    filterset_class = PositionFilter

    def get_queryset(self) -> Any:
        return selectors.positions(owner_of(self.request))

    def document(self, row: Position, market: Market) -> dict[str, Any]:
        return serializers.position_document(row, market)


class PositionView(APIView):
    """One position with its floating profit; its stop loss and take profit may be changed while it is open."""

    scopes = {"GET": "read", "PATCH": "trade"}
    throttle_scope = "money"
    refusals = errors.STOPPING

    @extend_schema(responses=serializers.PositionDocument)
    def get(self, request: Request, position_id: UUID) -> Response:
        return self._shown(selectors.position(owner_of(request), position_id))

    @extend_schema(request=serializers.PositionChangeTerms, responses=serializers.PositionDocument)
    def patch(self, request: Request, position_id: UUID) -> Response:
        changes: Any = serializers.PositionChangeTerms.read(request.data)
        owner, actor = owner_of(request), actor_of(request)
        return self._shown(
            change_services.modify_position(owner=owner, position_id=position_id, changes=changes, actor=actor)
        )

    def _shown(self, position: Position) -> Response:
        return Response(serializers.position_document(position, selectors.market(timezone.now())))


class SwapListView(_MarketList):
    """What each night of one position cost or earned, newest first."""

    queryset = Swap.objects.none()  # what the API document reads; requests read their own
    serializer_class = serializers.SwapDocument

    def get_queryset(self) -> Any:
        return selectors.swaps(owner_of(self.request), self.kwargs["position_id"])

    def document(self, row: Swap, market: Market) -> dict[str, Any]:
        return serializers.swap_document(row, market)


class ClosePositionView(OperationView):
    """Close a position, or part of it, at the current price."""

    operation = position_services.CLOSE
    refusals = errors.CLOSING
    terms = serializers.CloseTerms
    receipt = serializers.CloseReceipt
    scopes = {"POST": "trade"}
    throttle_scope = "money"

    def act(self, *, request: Request, terms: dict[str, Any], claim: Claim, actor: Actor, **path: Any) -> Answer:
        volume = None if terms["volume"] == serializers.ALL else terms["volume"]
        return position_services.close_position(
            position_id=path["position_id"], volume=volume, claim=claim, actor=actor
        )


# --- Deals ----------------------------------------------------------------------------------------------------------


class DealFilter(_MadeBetween):
    """`from` and `to` are about when a deal was executed."""

    made_at = "executed_at"

    account = filters.CharFilter(field_name="account__number")
    symbol = filters.CharFilter(field_name="instrument_id")
    entry = ChoiceFilter(choices=Deal.Entry.choices)
    cause = ChoiceFilter(choices=Deal.Cause.choices)
    position = UUIDFilter(field_name="position_id")
    order = UUIDFilter(field_name="order_id")

    class Meta:
        model = Deal
        fields: ClassVar[list[str]] = []


DealFilter.base_filters["from"] = MomentFilter(method="since")


class DealListView(_MarketList):
    """A client's executions, newest first."""

    serializer_class = serializers.DealDocument
    filterset_class = DealFilter

    def get_queryset(self) -> Any:
        return selectors.deals(owner_of(self.request))

    def document(self, row: Deal, market: Market) -> dict[str, Any]:
        return serializers.deal_document(row, market)


class ExplainDealView(APIView):
    """A deal's arithmetic, recomputed from what the deal kept, line by line."""

    scopes = {"GET": "read"}

    @extend_schema(responses=serializers.ExplanationDocument)
    def get(self, request: Request, deal_id: UUID) -> Response:
        deal = selectors.deals(owner_of(request)).filter(pk=deal_id).first()
        if deal is None:
            raise NotFound
        return Response(explain(deal))


# --- Accounts -------------------------------------------------------------------------------------------------------


class AccountListView(APIView):
    """A client's trading accounts with what each is worth now."""

    scopes = {"GET": "read"}

    @extend_schema(operation_id="trading_accounts_list", responses=serializers.AccountList)
    def get(self, request: Request) -> Response:
        valued = selectors.valued_accounts(owner_of(request), timezone.now())
        results = [serializers.account_document(engine.summarise(*one)) for one in valued]
        return Response({"results": results, "next": None, "previous": None})


class AccountView(APIView):
    """One trading account: balance, credit, floating, equity, held, free margin and margin level of one moment."""

    scopes = {"GET": "read"}

    @extend_schema(responses=serializers.AccountDocument)
    def get(self, request: Request, number: str) -> Response:
        for account, positions, market in selectors.valued_accounts(owner_of(request), timezone.now()):
            if account.number == number:
                return Response(serializers.account_document(engine.summarise(account, positions, market)))
        raise errors.TradingAccountNotFound(number=number)


class ReleaseView(OperationView):
    """Move free margin out of a trading account into another wallet of the same client."""

    operation = account_services.RELEASE
    refusals = (
        errors.TradingAccountNotFound,
        WalletNotFound,
        errors.FreeMarginInsufficient,
        errors.ReleaseTargetNotAllowed,
    )
    terms = serializers.ReleaseTerms
    receipt = serializers.ReleaseReceipt
    scopes = {"POST": "transfer"}
    throttle_scope = "money"

    def act(self, *, request: Request, terms: dict[str, Any], claim: Claim, actor: Actor, **path: Any) -> Answer:
        return account_services.release_funds(
            account=path["number"], amount=terms["amount"], target=terms["target"], claim=claim, actor=actor
        )


class ResetDemoView(OperationView):
    """Bring a demo account back to the virtual money it started with."""

    operation = account_services.DEMO_RESET
    refusals = (errors.TradingAccountNotFound, errors.DemoOnly, errors.PositionsOpen)
    terms = serializers.NoTerms
    receipt = serializers.ResetReceipt
    scopes = {"POST": "trade"}
    throttle_scope = "money"

    def act(self, *, request: Request, terms: dict[str, Any], claim: Claim, actor: Actor, **path: Any) -> Answer:
        return account_services.reset_demo(account=path["number"], claim=claim, actor=actor)


SINCE_MAX = 2**63 - 1


class ChangesView(APIView):
    """
    What changed of a trading account behind a number, and what it is worth: one poll keeps an app up to date.

    Begin with the `sequence` of the account, read it first and its orders and positions after it; then ask again and
    again with the last answer's `sequence` as `since`. Changes are numbered without gaps. Rows and state are of one
    moment, so a row may already show what a later change, still to come with the next page, did to it.
    """

    scopes = {"GET": "read"}
    refusals = (errors.TradingAccountNotFound, errors.SequenceUnknown)

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "since", {"type": "integer", "minimum": 0, "maximum": SINCE_MAX, "default": 0}, description="Excluded."
            ),
            OpenApiParameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
                description="Changes, which are no fewer than rows: what changed twice is shown once.",
            ),
        ],
        responses=serializers.ChangesDocument,
    )
    def get(self, request: Request, number: str) -> Response:
        query = request.query_params
        since, limit = whole_number(query, "since", default=0, low=0, high=SINCE_MAX), page_limit(query)
        with snapshot.of_one_moment():
            account = selectors.trading_account(owner_of(request), number)
            changes = selectors.changes(account, since=since, limit=limit)
            book, market = selectors.book(account.id), selectors.market(timezone.now())
        return Response(serializers.changes_document(changes, engine.summarise(account, book, market), market))


class MarginEventFilter(_MadeBetween):
    """`from` and `to` are about when it was told."""

    made_at = "created_at"

    kind = ChoiceFilter(choices=MarginEvent.Kind.choices)

    class Meta:
        model = MarginEvent
        fields: ClassVar[list[str]] = []


MarginEventFilter.base_filters["from"] = MomentFilter(method="since")


class MarginEventListView(ListAPIView[Any]):
    """The margin calls and stop-outs of a trading account, newest first."""

    queryset = MarginEvent.objects.none()  # what the API document reads; requests read their own
    serializer_class = serializers.MarginEventDocument
    filterset_class = MarginEventFilter
    scopes: ClassVar[dict[str, str | None]] = {"GET": "read"}
    refusals = (errors.TradingAccountNotFound,)

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        account = selectors.trading_account(owner_of(request), kwargs["number"])
        rows = selectors.margin_events(account.owner_id).filter(account=account)
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response([serializers.margin_event_document(row) for row in page or []])


class MarginEventView(APIView):
    """One margin call or stop-out, with the figures it was decided on and every step that was taken."""

    scopes = {"GET": "read"}

    @extend_schema(responses=serializers.MarginEventDocument)
    def get(self, request: Request, event_id: UUID) -> Response:
        event = selectors.margin_events(owner_of(request)).filter(pk=event_id).first()
        if event is None:
            raise NotFound
        return Response(serializers.margin_event_document(event))
