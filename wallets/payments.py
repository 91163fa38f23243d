"""
The port to whoever moves real money in: an adapter says what becomes of an intent, and never touches a balance.

Three adapters. `sandbox` has the money at once and is for demos and demo wallets. `manual` waits for staff, who match
bank statements. `webhook` waits for the provider's own signed message, `POST /api/v1/payments/webhook`:

    Payment-Timestamp: 1767225600
    Payment-Signature: v1=<hex of HMAC-SHA256(PAYMENT_WEBHOOK_SECRET, "<timestamp>.<body>")>

    {"deposit": "<our id>", "reference": "<the provider's>", "status": "COMPLETED" or "FAILED",
     "amount": "100.00", "currency": "USD"}

The timestamp bounds how long a stolen message can be repeated; that (provider, reference) is unique for ever makes the
repetition harmless.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from core.errors import DomainError
from wallets.models import Environment

TIMESTAMP_HEADER = "Payment-Timestamp"
SIGNATURE_HEADER = "Payment-Signature"

_TIMESTAMP = re.compile(r"\A[0-9]{1,12}\Z", re.ASCII)
_SIGNATURE = re.compile(r"\Av1=[0-9a-f]{64}\Z", re.ASCII)


class WebhookSignatureInvalid(DomainError):
    code = "WEBHOOK_SIGNATURE_INVALID"
    message = "The message is not signed with the secret shared with this desk."
    status = 403


class WebhookTimestampRefused(DomainError):
    code = "WEBHOOK_TIMESTAMP_REFUSED"
    message = "The message was signed too far from now; at most {tolerance_seconds} seconds are accepted."
    status = 403


@dataclass(frozen=True, slots=True)
class Intake:
    """What an adapter makes of an intent: is the money there, under which reference, and until when may it come."""

    is_complete: bool
    reference: str | None
    expires_at: datetime


class PaymentProvider(Protocol):
    """
    One way in for money. `take_in` runs under the wallet's lock, so it computes and never calls out.

    An adapter that needs the provider's word has it brought by a webhook, or by a job that calls
    `deposits.settle_deposit`.
    """

    name: str

    def take_in(self, *, deposit_id: UUID, now: datetime) -> Intake: ...


class Sandbox:
    """Has the money at once."""

    name = "sandbox"

    def take_in(self, *, deposit_id: UUID, now: datetime) -> Intake:
        return Intake(is_complete=True, reference=f"sandbox-{deposit_id}", expires_at=now + timedelta(days=1))


class Manual:
    """Waits for staff to find the money on the bank statement; the client quotes the deposit's id in their transfer."""

    name = "manual"

    def take_in(self, *, deposit_id: UUID, now: datetime) -> Intake:
        return Intake(is_complete=False, reference=None, expires_at=now + timedelta(days=14))


class Webhook:
    """Waits for the provider's signed message."""

    name = "webhook"

    def take_in(self, *, deposit_id: UUID, now: datetime) -> Intake:
        return Intake(is_complete=False, reference=None, expires_at=now + timedelta(days=1))


PROVIDERS: dict[str, PaymentProvider] = {provider.name: provider for provider in (Sandbox(), Manual(), Webhook())}


def provider_for(environment: str) -> PaymentProvider:
    """
    The provider in use: PAYMENT_PROVIDER for live money, always the sandbox for demo money.

    :raises ImproperlyConfigured: if PAYMENT_PROVIDER names none
    """
    if environment == Environment.DEMO:
        return PROVIDERS[Sandbox.name]
    try:
        return PROVIDERS[settings.PAYMENT_PROVIDER]
    except KeyError:
        names = ", ".join(PROVIDERS)
        raise ImproperlyConfigured(f"PAYMENT_PROVIDER={settings.PAYMENT_PROVIDER!r} is not one of {names}") from None


def sign(body: bytes, *, timestamp: str) -> str:
    """The signature header's value for a message sent at `timestamp` (Unix seconds)."""
    message = timestamp.encode() + b"." + body
    return "v1=" + hmac.new(settings.PAYMENT_WEBHOOK_SECRET.encode(), message, sha256).hexdigest()


def require_signature(body: bytes, *, timestamp: str, signature: str, now: datetime) -> None:
    """
    Refuse a message that the provider has not signed, or not lately; compares in constant time.

    :raises WebhookSignatureInvalid: if a header is missing, malformed or wrong
    :raises WebhookTimestampRefused: if it was signed too long before or after `now`
    """
    if _TIMESTAMP.match(timestamp) is None or _SIGNATURE.match(signature) is None:
        raise WebhookSignatureInvalid
    if not hmac.compare_digest(sign(body, timestamp=timestamp), signature):
        raise WebhookSignatureInvalid
    tolerance = settings.PAYMENT_WEBHOOK_TOLERANCE_SECONDS
    if abs(int(now.timestamp()) - int(timestamp)) > tolerance:
        raise WebhookTimestampRefused(tolerance_seconds=tolerance)
