"""Money over REST: each view parses, makes one service call, and renders."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from core import spreadsheets
from core.api import ProblemAwareJSONRenderer, client_address, page_limit
from core.api.filters import ChoiceFilter, MomentFilter
from core.api.views import APIView, ListAPIView, OperationView, RetrieveAPIView
from core.audit import Actor, ActorKind
from core.idempotency import Answer, Claim, conceal
from core.ids import HOUSE
from core.money import PrecisionExceeded
from wallets import bank, payments, rules, selectors, serializers
from wallets.ledger import WalletNotFound
from wallets.models import BankAccount, Deposit, Entry, LedgerTransaction, Transfer, Wallet, Withdrawal
from wallets.services import bank_accounts, deposits, transfers, withdrawals

#: Entries are read this many at a time while a statement is streamed.
STATEMENT_ROWS_PER_READ = 1_000


def _owner(request: Request) -> UUID:
    """Whose token it is; a principal, whose row nobody fetches."""
    principal: Any = request.user
    owner: UUID = principal.id
    return owner


# --- Wallets and their statements -----------------------------------------------------------------------------------


class WalletListView(ListAPIView[Wallet]):
    """A client's wallets."""

    scopes = {"GET": "read"}
    serializer_class = serializers.WalletSummary

    def get_queryset(self) -> QuerySet[Wallet]:
        return selectors.wallets(_owner(self.request))


class WalletView(RetrieveAPIView[Wallet]):
    """One wallet by its number."""

    scopes = {"GET": "read"}
    serializer_class = serializers.WalletSummary
    lookup_field = "number"

    def get_queryset(self) -> QuerySet[Wallet]:
        return selectors.wallets(_owner(self.request))


class EntryFilter(filters.FilterSet):
    """Which lines of a statement; `from` is included and `to` is not, so that months fit together."""

    reason = ChoiceFilter(choices=Entry.Reason.choices)
    type = ChoiceFilter(field_name="transaction__type", choices=LedgerTransaction.Type.choices)
    to = MomentFilter(field_name="posted_at", lookup_expr="lt")


# A class body cannot spell a field named `from`.
EntryFilter.base_filters["from"] = MomentFilter(field_name="posted_at", lookup_expr="gte")


class StatementCSV(BaseRenderer):
    """Makes `Accept: text/csv` negotiable; the view streams the file itself."""

    media_type = "text/csv"
    format = "csv"


class StatementView(ListAPIView[Entry]):
    """
    What moved in a wallet, newest first, with the balance after each line.

    JSON comes in pages; with `Accept: text/csv` every line that the filters let through comes as one file.
    """

    scopes = {"GET": "read"}
    serializer_class = serializers.StatementLine
    renderer_classes = (ProblemAwareJSONRenderer, StatementCSV)
    queryset = Entry.objects.none()  # what the API document looks at; a request gets its own below
    filterset_class = EntryFilter
    ordering = "-wallet_version"

    def get_queryset(self) -> QuerySet[Entry]:
        return selectors.entries(selectors.wallet(_owner(self.request), self.kwargs["number"]))

    @extend_schema(
        parameters=[OpenApiParameter("Accept", str, OpenApiParameter.HEADER, enum=["application/json", "text/csv"])]
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        entries = self.filter_queryset(self.get_queryset())
        page_limit(request.query_params)  # what is none is refused, also where there are no pages
        if request.accepted_renderer.format != StatementCSV.format:
            page = self.paginate_queryset(entries)
            return self.get_paginated_response(self.get_serializer(page, many=True).data)
        lines = selectors.statement_lines(entries, rows_per_read=STATEMENT_ROWS_PER_READ)
        body = spreadsheets.stream(selectors.STATEMENT_COLUMNS, lines)
        response = StreamingHttpResponse(body, content_type=spreadsheets.CONTENT_TYPE)
        response.headers["Content-Disposition"] = f'attachment; filename="{kwargs["number"]}.csv"'
        return response


# --- Transfers ------------------------------------------------------------------------------------------------------


class TransfersView(OperationView, ListAPIView[Transfer]):
    """Move money to another wallet; or list what was sent."""

    operation = transfers.TRANSFER
    terms = serializers.TransferTerms
    receipt = serializers.TransferAnswer
    refusals = (
        transfers.SameWallet,
        PrecisionExceeded,
        WalletNotFound,
        rules.MarginSourceRefused,
        rules.EnvironmentMismatch,
        rules.CurrencyMismatch,
        transfers.TargetNotAllowed,
        rules.WalletNotActive,
        rules.WithdrawalsFrozen,
        rules.VerificationRequired,
        rules.InsufficientFunds,
    )
    scopes = {"POST": "transfer", "GET": "read"}
    throttle_scope = "money"
    serializer_class = serializers.TransferReceipt

    def get_queryset(self) -> QuerySet[Transfer]:
        return selectors.transfers(_owner(self.request))

    def act(self, *, request: Request, terms: dict[str, Any], claim: Claim, actor: Actor, **path: Any) -> Answer:
        return transfers.transfer_funds(**terms, claim=claim, actor=actor)


class TransferView(RetrieveAPIView[Transfer]):
    """One transfer that the client has sent."""

    scopes = {"GET": "read"}
    serializer_class = serializers.TransferReceipt
    lookup_url_kwarg = "transfer_id"

    def get_queryset(self) -> QuerySet[Transfer]:
        return selectors.transfers(_owner(self.request))


# --- Deposits -------------------------------------------------------------------------------------------------------


class DepositsView(OperationView, ListAPIView[Deposit]):
    """Pay money in; or list what was paid in."""

    operation = deposits.CREATE_DEPOSIT
    terms = serializers.DepositTerms
    receipt = serializers.DepositReceipt
    refusals = (
        PrecisionExceeded,
        WalletNotFound,
        deposits.DepositOutOfRange,
        rules.WalletNotActive,
        rules.DepositsFrozen,
        deposits.UnverifiedDepositLimit,
    )
    scopes = {"POST": "transfer", "GET": "read"}
    throttle_scope = "money"
    serializer_class = serializers.DepositReceipt

    def get_queryset(self) -> QuerySet[Deposit]:
        return selectors.deposits(_owner(self.request))

    def act(self, *, request: Request, terms: dict[str, Any], claim: Claim, actor: Actor, **path: Any) -> Answer:
        return deposits.create_deposit(**terms, claim=claim, actor=actor)


class DepositView(RetrieveAPIView[Deposit]):
    """One deposit."""

    scopes = {"GET": "read"}
    serializer_class = serializers.DepositReceipt
    lookup_url_kwarg = "deposit_id"

    def get_queryset(self) -> QuerySet[Deposit]:
        return selectors.deposits(_owner(self.request))


class PaymentWebhookView(APIView):
    """
    Where a payment provider reports on a deposit, signed; a report that comes again changes nothing.

    `Payment-Timestamp` is the Unix time of sending; `Payment-Signature` is `v1=` and the hex of HMAC-SHA256, with the
    shared secret, over the timestamp, a full stop and the body.
    """

    authentication_classes = ()
    permission_classes = ()
    refusals = (
        payments.WebhookSignatureInvalid,
        payments.WebhookTimestampRefused,
        deposits.DepositNotFound,
        deposits.PaymentMismatch,
        deposits.PaymentReferenceTaken,
        deposits.DepositStateRefused,
        rules.WalletNotActive,
    )

    @extend_schema(
        parameters=[
            OpenApiParameter(payments.TIMESTAMP_HEADER, str, OpenApiParameter.HEADER, required=True),
            OpenApiParameter(payments.SIGNATURE_HEADER, str, OpenApiParameter.HEADER, required=True),
        ],
        request=serializers.PaymentReport,
        responses=serializers.PaymentReceived,
    )
    def post(self, request: Request) -> Response:
        payments.require_signature(
            request.body,
            timestamp=request.headers.get(payments.TIMESTAMP_HEADER, ""),
            signature=request.headers.get(payments.SIGNATURE_HEADER, ""),
            now=timezone.now(),
        )
        report = serializers.PaymentReport.read(request.data)
        said = {
            "deposit_id": report["deposit"],
            "reference": report["reference"],
            "succeeded": report["status"] == "COMPLETED",
            "amount": report["amount"],
            "currency": report["currency"],
        }
        deposits.keep_report(**said)  # first, and for good: what is refused below was said all the same
        deposit = deposits.settle_deposit(
            **said,
            actor=Actor(
                id=HOUSE,
                kind=ActorKind.PROVIDER,
                request_id=getattr(request, "request_id", ""),
                address=client_address(request),
            ),
        )
        return Response(serializers.PaymentReceived(deposit).data)


# --- Withdrawals ----------------------------------------------------------------------------------------------------


class WithdrawalsView(OperationView, ListAPIView[Withdrawal]):
    """Ask for money to be paid out; or list what was asked for."""

    operation = withdrawals.REQUEST_WITHDRAWAL
    terms = serializers.WithdrawalTerms
    receipt = serializers.WithdrawalReceipt
    refusals = (
        PrecisionExceeded,
        WalletNotFound,
        withdrawals.BankAccountNotFound,
        rules.MarginSourceRefused,
        withdrawals.DemoMoneyRefused,
        rules.WithdrawalsHalted,
        rules.WalletNotActive,
        rules.WithdrawalsFrozen,
        rules.VerificationRequired,
        withdrawals.WithdrawalBelowMinimum,
        withdrawals.BankAccountRequired,
        rules.InsufficientFunds,
    )
    scopes = {"POST": "withdraw", "GET": "read"}
    throttle_scope = "money"
    serializer_class = serializers.WithdrawalReceipt

    def get_queryset(self) -> QuerySet[Withdrawal]:
        return selectors.withdrawals(_owner(self.request))

    def act(self, *, request: Request, terms: dict[str, Any], claim: Claim, actor: Actor, **path: Any) -> Answer:
        return withdrawals.request_withdrawal(**terms, claim=claim, actor=actor)


class WithdrawalView(RetrieveAPIView[Withdrawal]):
    """One withdrawal."""

    scopes = {"GET": "read"}
    serializer_class = serializers.WithdrawalReceipt
    lookup_url_kwarg = "withdrawal_id"

    def get_queryset(self) -> QuerySet[Withdrawal]:
        return selectors.withdrawals(_owner(self.request))


class WithdrawalCancellationView(OperationView):
    """Take back a withdrawal that nobody has approved yet."""

    operation = withdrawals.CANCEL_WITHDRAWAL
    receipt = serializers.WithdrawalReceipt
    refusals = (withdrawals.WithdrawalNotFound, withdrawals.WithdrawalStateRefused)
    success_status = 200
    scopes = {"POST": "withdraw"}
    throttle_scope = "money"

    def act(self, *, request: Request, terms: dict[str, Any], claim: Claim, actor: Actor, **path: Any) -> Answer:
        return withdrawals.cancel_withdrawal(withdrawal_id=path["withdrawal_id"], claim=claim, actor=actor)


# --- Bank accounts --------------------------------------------------------------------------------------------------


class BankAccountsView(OperationView, ListAPIView[BankAccount]):
    """Put a bank account on file for withdrawals; or list those on file."""

    operation = bank_accounts.ADD_BANK_ACCOUNT
    terms = serializers.BankAccountTerms
    receipt = serializers.BankAccountSummary
    refusals = (bank.BankDetailsInvalid, bank.BankAccountKnown, bank.BankAccountsLimitReached)
    scopes = {"POST": "withdraw", "GET": "read"}
    throttle_scope = "money"
    serializer_class = serializers.BankAccountSummary

    def get_queryset(self) -> QuerySet[BankAccount]:
        return selectors.bank_accounts(_owner(self.request))

    def claimed(self, terms: dict[str, Any]) -> dict[str, Any]:
        return {**terms, "number": conceal(terms["number"])}

    def act(self, *, request: Request, terms: dict[str, Any], claim: Claim, actor: Actor, **path: Any) -> Answer:
        return bank_accounts.add_bank_account(**terms, claim=claim, actor=actor)
