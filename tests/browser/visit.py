"""A member of staff in front of a real browser, and everything that the browser has to complain about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.models import Group
from django_otp.oath import totp

from accounts.credentials import PasswordHash
from accounts.models import User
from accounts.services import staff
from core.audit import Actor
from tests import factories

WINDOW = {"width": 1440, "height": 900}
#: What a page may load from: the desk itself, and what it carries in itself.
SCHEMES_WITHOUT_HOST = ("data", "blob", "about")


@dataclass
class Visit:
    """One window: `page` is playwright's; `complaints` is what no page of ours may cause."""

    url: str
    page: Any
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(f"{self.page.url}: {error}"))
        self.page.on("request", self._see)

    def _hear(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{self.page.url}: {message.text}")

    def _see(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in SCHEMES_WITHOUT_HOST:
            return
        self.hosts.add(parts.netloc)
        if f"{parts.scheme}://{parts.netloc}" != self.url:
            self.complaints.append(f"{self.page.url}: asked {request.url}")

    def open(self, path: str) -> Any:
        """Go to a page of the desk, which has to be there; its body's text."""
        answer = self.page.goto(f"{self.url}{path}")
        assert answer.ok, f"{path} answered {answer.status}"
        return self.text()

    def text(self) -> str:
        """What is to be read on the page."""
        return str(self.page.inner_text("body"))

    def side_bar(self) -> list[str]:
        """Where the side bar leads, folded sections included."""
        links: list[str] = self.page.eval_on_selector_all(
            "#nav-sidebar a[href], nav a[href]", "links => links.map(link => new URL(link.href).pathname)"
        )
        return sorted({link for link in links if link.startswith("/admin/")})

    def press(self, label: str) -> None:
        """Press the button of this label, and wait for the page that follows."""
        self.page.get_by_role("button", name=label, exact=True).first.click()
        self.page.wait_for_load_state()

    def log_in(self, email: str, password: str, key: bytes, *, code: str | None = None) -> None:
        """Fill in the form as a person does, with the key's present code unless another one is given."""
        self.open("/admin/login/?next=/admin/")
        self.page.fill("input[name=username]", email)
        self.page.fill("input[name=password]", password)
        self.page.fill("input[name=otp_token]", f"{totp(key):06d}" if code is None else code)
        self.page.click("form#login-form [type=submit]")
        self.page.wait_for_load_state()


SignIn = Callable[..., Visit]


def enlist(role: str, *, key: bytes, number: int = 1) -> User:
    """A member of staff of this role; `number` tells two of one role apart."""
    if not Group.objects.filter(name=role).exists():
        staff.define_roles()
    return staff.enlist_staff(
        email=f"{role}{number}@desk.example",
        name=f"{role.title()} {number}",
        role=role,
        password=PasswordHash(factories.password_hash()),
        totp_key=key,
        actor=Actor.system("test"),
    )
