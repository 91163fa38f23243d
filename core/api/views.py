"""A view parses, makes one service call and renders; the gates in front of it stand in one order for everybody."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.views import APIView

from core.api.fields import Terms
from core.api.requests import AnswerResponse, actor_of, claim_for
from core.audit import Actor
from core.errors import DomainError
from core.idempotency import Answer, Operation

__all__ = ["APIView", "ListAPIView", "OperationView", "RetrieveAPIView"]


class OperationView(APIView):
    """
    A POST that a client may repeat without repeating its effect.

    The gates, in this order: authenticate (with the token's scope), throttle, shape (400), key (400), act. A subclass
    declares what it is and calls one service in `act`; mixed with `ListAPIView` it lists on GET as well:

        class TransferView(OperationView):
            operation = services.TRANSFER
            terms = TransferTerms
            receipt = TransferReceipt
            scopes = {"POST": "transfer"}
            throttle_scope = "money"

            def act(self, *, request, terms, claim, actor, **path):
                return services.transfer_funds(**terms, claim=claim, actor=actor)

    `receipt` and `refusals` feed the API document alone: the answer's bytes are the service's, as they are stored.
    """

    operation: ClassVar[Operation]
    terms: ClassVar[type[Terms] | None] = None
    receipt: ClassVar[Any] = None
    refusals: ClassVar[tuple[type[DomainError], ...]] = ()
    success_status: ClassVar[int] = 201
    throttle_scope: ClassVar[str | None] = None
    scopes: ClassVar[dict[str, str | None]] = {}

    def act(self, *args: Any, **kwargs: Any) -> Answer:
        """
        Call the one service that does it.

        By name it gets `request`, `terms` (validated), `claim`, `actor`, and the URL's parameters.
        """
        raise NotImplementedError

    def terms_for(self, request: Request) -> type[Terms] | None:
        """What this client may send; override where it depends on whether they are signed in."""
        return self.terms

    def owner_of(self, request: Request, terms: dict[str, Any]) -> UUID:
        """Whose key it is; a view for people who have no account yet derives it from their email address."""
        principal: Any = request.user
        owner: UUID = principal.id
        return owner

    def claimed(self, terms: dict[str, Any]) -> dict[str, Any]:
        """The terms as the request's hash sees them: override to conceal secrets and to leave out one-time codes."""
        return terms

    def actor_of(self, request: Request) -> Actor:
        return actor_of(request)

    def post(self, request: Request, **path: Any) -> AnswerResponse:
        terms = (self.terms_for(request) or Terms).read(request.data)
        claim = claim_for(request, self.operation, self.claimed(terms), owner=self.owner_of(request, terms), path=path)
        answer = self.act(request=request, terms=terms, claim=claim, actor=self.actor_of(request), **path)
        return AnswerResponse(answer)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if request.method != "POST":
            super().initial(request, *args, **kwargs)
            return
        # No content negotiation and no versioning: the answer is bytes that a service has stored.
        self.perform_authentication(request)
        self.check_permissions(request)
        self.check_throttles(request)

    @property
    def default_response_headers(self) -> dict[str, str]:
        return {} if self.request.method == "POST" else super().default_response_headers
