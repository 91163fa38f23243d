"""A letter is written when its transaction has committed, and posted without anybody waiting for the post office."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial

import structlog
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.utils.http import urlencode

from accounts.credentials import email_confirmation, password_reset
from accounts.models import User

logger = structlog.get_logger(__name__)

#: Letters waiting in one process; with more than that the mail server is in trouble, and requests wait for it again.
LETTERS_WAITING_MAX = 200

_waiting = threading.BoundedSemaphore(LETTERS_WAITING_MAX)


def confirm_address_on_commit(user: User) -> None:
    """Once the caller's transaction has committed: ask the person to prove that the mailbox is theirs."""
    transaction.on_commit(partial(_ask_to_confirm, user), robust=True)


def send_reset_on_commit(user: User) -> None:
    """Once the caller's transaction has committed: send the means to set a new password."""
    transaction.on_commit(partial(_offer_reset, user), robust=True)


def tell_of_new_password_on_commit(user: User) -> None:
    """Once the caller's transaction has committed: tell the person, in case it was not them."""
    transaction.on_commit(partial(_tell_of_new_password, user), robust=True)


def _ask_to_confirm(user: User) -> None:
    link = _link("confirm-email", user=str(user.pk), token=email_confirmation.make_token(user))
    _send(
        user.email,
        "Confirm your email address",
        f"Welcome, {user.name}.\n\nOpen this link to confirm that this mailbox is yours:\n\n{link}\n",
    )


def _offer_reset(user: User) -> None:
    link = _link("reset-password", user=str(user.pk), token=password_reset.make_token(user))
    _send(
        user.email,
        "Set a new password",
        f"Somebody asked for a new password for this account. If it was you, open this link:\n\n{link}\n\n"
        "If it was not, there is nothing to do: your password stays as it is.\n",
    )


def _tell_of_new_password(user: User) -> None:
    _send(
        user.email,
        "Your password was changed",
        "The password of your account was changed, and every device was logged out.\n\n"
        "If this was not you, set a new password at once and contact support.\n",
    )


def _link(page: str, **query: str) -> str:
    return f"{settings.CLIENT_APP_URL.rstrip('/')}/{page}?{urlencode(query)}"


# --- The post office ------------------------------------------------------------------------------------------------
# Not in the request: an answer that takes longer when a letter is sent would tell who has an account here.


def _send(recipient: str, subject: str, text: str) -> None:
    message = EmailMessage(subject, text, settings.DEFAULT_FROM_EMAIL, [recipient], connection=get_connection())
    if not _waiting.acquire(timeout=settings.EMAIL_TIMEOUT):
        logger.error("accounts.letter.lost", error="backlog")
        return
    _carriers().submit(message.send).add_done_callback(_sent)


def _sent(sending: Future[int]) -> None:
    _waiting.release()
    error = sending.exception()
    if error is not None:
        logger.error("accounts.letter.lost", error=type(error).__name__)


@cache
def _carriers() -> ThreadPoolExecutor:
    """Made with the first letter, after any fork; Python lets them deliver what they have before it exits."""
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="mail")
