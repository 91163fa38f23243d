"""Views of the tests' own, and the URL conf that serves them beside core's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from django.contrib import admin
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import include, path
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient
from unfold.sites import UnfoldAdminSite

from core.api import Terms, TextField
from core.api.views import APIView, ListAPIView, OperationView
from core.errors import Contended, NotFound
from core.idempotency import Answer
from core.models import JobRun
from tests.core import effects


@dataclass(frozen=True)
class Principal:
    id: UUID = effects.ALICE
    is_authenticated: bool = True


@dataclass(frozen=True)
class Grant:
    scopes: frozenset[str] = frozenset({"read", "transfer"})
    id: UUID = field(default_factory=effects.some_id)


def client(owner: UUID = effects.ALICE, *scopes: str) -> APIClient:
    """A client that is signed in as `owner` with these scopes (`read` and `transfer` by default)."""
    api = APIClient(raise_request_exception=False)
    api.force_authenticate(Principal(owner), Grant(frozenset(scopes or ("read", "transfer"))))  # type: ignore[arg-type]
    return api


class NoteTerms(Terms):
    name = TextField(max_length=20)


class NoteLine(serializers.ModelSerializer[JobRun]):
    class Meta:
        model = JobRun
        fields = ("id", "name", "started_at")


class NotesView(OperationView, ListAPIView[JobRun]):
    operation = effects.NOTE
    terms = NoteTerms
    receipt = NoteLine
    refusals = (effects.NoteRefused,)
    scopes = {"POST": "transfer", "GET": "read"}
    throttle_scope = "money"
    serializer_class = NoteLine
    queryset = JobRun.objects.all()

    def act(self, *, request: Request, terms: dict[str, Any], claim: Any, actor: Any, **path: Any) -> Answer:
        def refuse() -> None:
            if terms["name"] == "refused":
                raise effects.NoteRefused(name="refused")
            if terms["name"] == "missing":
                raise effects.NoteNotFound

        name = f"{path.get('prefix', '')}{terms['name']}"
        return effects.take_note(name=name, claim=claim, actor=actor, before_write=refuse)


class EchoView(APIView):
    """Takes anything that the parser takes."""

    scopes = {"POST": None, "GET": "read", "DELETE": None}

    def post(self, request: Request) -> Response:
        return Response({"data": repr(request.data)})

    def get(self, request: Request) -> Response:
        return Response({"id": request.user.id})

    def delete(self, request: Request) -> Response:
        return Response(None, status=204)


class ForgottenView(APIView):
    """Its author said nothing about who may call it."""

    def get(self, request: Request) -> Response:
        return Response({"secret": True})


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


SECRET = "canary-in-an-exception"

FAILURES: dict[str, Exception] = {
    "domain": NotFound(),
    "busy": Contended(),
    "http404": Http404(SECRET),
    "denied": PermissionDenied(SECRET),
    "invalid": DjangoValidationError({"name": ["Too short."]}),
    "suspicious": SuspiciousOperation(SECRET),
    "throttled": exceptions.Throttled(wait=12.2),
    "parse": exceptions.ParseError(SECRET),
    "authentication": exceptions.AuthenticationFailed(SECRET),
    "framework": exceptions.APIException(SECRET),
    "surrogate": UnicodeEncodeError("utf-8", "\ud800", 0, 1, SECRET),
    "data": DataError(SECRET),
    "link": InterfaceError(SECRET),
    "deadlock": caused_by(OperationalError(SECRET), psycopg.errors.DeadlockDetected()),
    "serialization": caused_by(OperationalError(SECRET), psycopg.errors.SerializationFailure()),
    "lock": caused_by(OperationalError(SECRET), psycopg.errors.LockNotAvailable()),
    "statement": caused_by(OperationalError(SECRET), psycopg.errors.QueryCanceled()),
    "unique": caused_by(IntegrityError(SECRET), psycopg.errors.UniqueViolation()),
    "check": caused_by(IntegrityError(SECRET), psycopg.errors.CheckViolation()),
    "bug": ZeroDivisionError(SECRET),
}


class FailingView(APIView):
    permission_classes = ()

    def get(self, request: Request, kind: str) -> Response:
        raise FAILURES[kind]


def failing_page(request: HttpRequest, kind: str) -> HttpResponse:
    raise FAILURES[kind]


class CoreSite(UnfoldAdminSite):
    """The pages of core alone, without the second factor that the desk's own site asks for."""

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        return []  # the desk's leads to every room


site = CoreSite()
for model, registered in admin.site._registry.items():
    if model._meta.app_label == "core":
        site.register(model, type(registered))

urlpatterns = [
    path("", include("core.urls")),
    path("admin/", site.urls),
    path("api/v1/notes", NotesView.as_view()),
    path("api/v1/notes/<str:prefix>", NotesView.as_view()),
    path("api/v1/echo", EchoView.as_view()),
    path("api/v1/forgotten", ForgottenView.as_view()),
    path("api/v1/fail/<str:kind>", FailingView.as_view()),
    path("api/v1/plain/<str:kind>", failing_page),
    path("pages/<str:kind>", failing_page),
]

handler400 = "core.views.bad_request"
handler403 = "core.views.permission_denied"
handler404 = "core.views.page_not_found"
handler500 = "core.views.server_error"
