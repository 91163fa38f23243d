"""Reading the post: letters are sent by a thread of their own, so a test waits for them."""

from __future__ import annotations

import re
import time
from urllib.parse import parse_qs, urlsplit

from django.core import mail
from django.core.mail import EmailMessage


def wait_for(count: int, *, seconds: float = 5.0) -> list[EmailMessage]:
    """The letters sent so far, once there are as many."""
    deadline = time.monotonic() + seconds
    while len(mail.outbox) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(mail.outbox) == count
    return list(mail.outbox)


def link(letter: EmailMessage) -> dict[str, str]:
    """What the link in a letter says, as the form that confirms it wants it."""
    (url,) = re.findall(r"https?://\S+", str(letter.body))
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
