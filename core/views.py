"""What the desk says about itself: that it lives, that it is ready, what it counts, and every refusal it knows."""

from __future__ import annotations

import hmac
import ipaddress
import os
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseForbidden, JsonResponse
from django.views import defaults
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core import health
from core.api.problems import API_PREFIX, MalformedRequest, PermissionRefused, RouteNotFound, respond
from core.api.requests import client_address
from core.api.schema import RefusalCatalogue
from core.errors import REGISTRY as REFUSALS
from core.errors import DomainError, Internal


@require_safe
def live(_request: HttpRequest) -> HttpResponse:
    """This process answers; the database is not asked."""
    return JsonResponse({"status": "live"})


@require_safe
def ready(_request: HttpRequest) -> HttpResponse:
    """200 if a client's work could be done now, else 503; the ages of quotes and jobs inform and decide nothing."""
    is_ready, details = health.readiness()
    document = {"status": "ready" if is_ready else "not ready", **details}
    response = JsonResponse(document, status=200 if is_ready else 503)
    if not is_ready:
        response.headers["Retry-After"] = "1"
    response.headers["Cache-Control"] = "no-store"
    return response


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format over all worker processes; for this host, or with `METRICS_TOKEN`."""
    if not _may_scrape(request):
        return HttpResponseForbidden("Not from here.", content_type="text/plain")
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _may_scrape(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        given = request.META.get("HTTP_AUTHORIZATION", "").encode()
        return hmac.compare_digest(given, f"Bearer {settings.METRICS_TOKEN}".encode())
    if "HTTP_X_FORWARDED_FOR" in request.META and not settings.TRUST_PROXY_HEADERS:
        return False  # a proxy on this host makes everybody look local
    address = client_address(request)
    return address is not None and ipaddress.ip_address(address).is_loopback


class ErrorCodesView(APIView):
    """Every refusal the API can give, by its stable code."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(operation_id="error_codes_list", responses=RefusalCatalogue, tags=["core"])
    def get(self, request: Request) -> Response:
        public = [refusal for _, refusal in sorted(REFUSALS.items()) if refusal.is_public]
        return Response({"results": [_entry(refusal) for refusal in public]})


def _entry(refusal: type[DomainError]) -> dict[str, Any]:
    return {
        "code": refusal.code,
        "status": refusal.status,
        "title": refusal.title(),
        "message": refusal.message,
        "final": refusal.final,
        "retry": _advice(refusal),
    }


def _advice(refusal: type[DomainError]) -> str:
    """What to do with the same request and the same Idempotency-Key."""
    if refusal.status in {429, 503} or refusal.retry_after_seconds is not None:
        return "same request, after the time in Retry-After"
    if refusal.status >= 500:
        return "same request, later"
    if refusal.final:
        return "never: a new intent needs a new key"
    return "after correcting the request"


# Django's own handlers, for what goes wrong outside the REST framework: problem documents under /api/, pages elsewhere.


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if request.path.startswith(API_PREFIX):
        return respond(MalformedRequest(), request)
    return defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if request.path.startswith(API_PREFIX):
        return respond(PermissionRefused(), request)
    return defaults.permission_denied(request, exception)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if request.path.startswith(API_PREFIX):
        return respond(RouteNotFound(), request)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponseBase:
    if request.path.startswith(API_PREFIX):
        return respond(Internal(), request)
    return defaults.server_error(request)
