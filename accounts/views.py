"""People over REST: each view parses, makes one service call, and renders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import credentials, rules, selectors
from accounts.credentials import InvalidCredentials, PasswordTooWeak
from accounts.models import ApiToken
from accounts.serializers import (
    DemoForm,
    DemoWelcome,
    EmailConfirmForm,
    LiveForm,
    LiveWelcome,
    LogInForm,
    PasswordChangeForm,
    PasswordResetConfirmForm,
    PasswordResetForm,
    Profile,
    ProfileChanges,
    SessionReceipt,
    SignedInLiveForm,
    TokenForm,
    TokenSummary,
    VerificationSummary,
    VerificationTerms,
)
from accounts.services import passwords, profiles, sessions, sign_up, verifications
from accounts.services.sessions import IssuedToken
from accounts.tokens import Grant
from core.api import HasScope, actor_of, client_address, owner_of
from core.api.views import APIView, ListAPIView, OperationView
from core.audit import Actor, ActorKind
from core.errors import NotFound
from core.idempotency import Answer, Claim, conceal
from core.ids import HOUSE
from core.throttling import RateLimited

#: What changes who a person is, how they log in or where their money goes asks for the scope that can take money out:
#: else a lesser token could make itself a greater one.
MANAGE = ApiToken.Scope.WITHDRAW


def _visitor(request: Request) -> Actor:
    """Somebody who is not signed in; the service puts the person's id in once it knows it."""
    return Actor(HOUSE, ActorKind.CLIENT, getattr(request, "request_id", ""), client_address(request))


def _is_signed_in(request: Request) -> bool:
    principal: Any = request.user
    return principal is not None


def _grant(request: Request) -> Grant:
    grant: Grant | Any = request.auth
    return grant


def _no_content() -> Response:
    return Response(status=204)


# --- Signing up -----------------------------------------------------------------------------------------------------


def _new_person(terms: dict[str, Any]) -> sign_up.NewPerson:
    return sign_up.NewPerson(
        email=terms["email"],
        name=terms["name"],
        phone=terms["phone"],
        country=terms["country"],
        referral_code=terms["referral_code"],
    )


def _account_terms(terms: dict[str, Any]) -> sign_up.AccountTerms:
    return sign_up.AccountTerms(currency=terms["currency"], leverage=terms["leverage"])


def _live_details(terms: dict[str, Any]) -> sign_up.LiveDetails:
    return sign_up.LiveDetails(date_of_birth=terms["date_of_birth"], address=terms["address"], **terms["bank"])


def _without_secrets(terms: dict[str, Any]) -> dict[str, Any]:
    shown = dict(terms)
    if "password" in shown:
        shown["password"] = conceal(shown["password"])
    if "bank" in shown:
        shown["bank"] = {**shown["bank"], "number": conceal(shown["bank"]["number"])}
    return shown


class DemoSignUpView(OperationView):
    """Open a demo account: a person, a referral code, a trading account and virtual money to trade with."""

    operation = sign_up.SIGN_UP_DEMO
    terms = DemoForm
    receipt = DemoWelcome
    refusals = (
        PasswordTooWeak,
        rules.ReferralCodeInvalid,
        rules.SelfReferral,
        sign_up.EmailTaken,
        sign_up.PhoneTaken,
    )
    authentication_classes = ()
    permission_classes = ()
    throttle_scope = "signup"

    def owner_of(self, request: Request, terms: dict[str, Any]) -> UUID:
        return sign_up.newcomer_id(terms["email"])

    def claimed(self, terms: dict[str, Any]) -> dict[str, Any]:
        return _without_secrets(terms)

    def actor_of(self, request: Request) -> Actor:
        return _visitor(request)

    def act(self, *, request: Request, terms: dict[str, Any], claim: Claim, actor: Actor, **path: Any) -> Answer:
        password = credentials.hash_password(terms["password"], email=terms["email"], name=terms["name"])
        return sign_up.sign_up_demo(
            person=_new_person(terms), password=password, account=_account_terms(terms), claim=claim, actor=actor
        )


class LiveSignUpView(OperationView):
    """
    Open a live account: cash and margin wallet, trading account, bank account, verification PENDING.

    With a token of a demo user (scope `withdraw`) it is that person's live account: the same form, in which email,
    password, name, phone and country may be left out.
    """

    operation = sign_up.SIGN_UP_LIVE
    terms = LiveForm
    receipt = LiveWelcome
    refusals = (
        PasswordTooWeak,
        InvalidCredentials,
        rules.UnderAge,
        rules.ReferralCodeInvalid,
        rules.SelfReferral,
        sign_up.EmailTaken,
        sign_up.PhoneTaken,
        sign_up.NotYourEmail,
        sign_up.LiveAccountExists,
        sign_up.AttributionFixed,
    )
    scopes = {"POST": MANAGE}
    throttle_scope = "signup"

    def check_permissions(self, request: Request) -> None:
        if _is_signed_in(request):
            HasScope().has_permission(request, self)

    def terms_for(self, request: Request) -> type[LiveForm]:
        return SignedInLiveForm if _is_signed_in(request) else LiveForm

    def owner_of(self, request: Request, terms: dict[str, Any]) -> UUID:
        return owner_of(request) if _is_signed_in(request) else sign_up.newcomer_id(terms["email"])

    def claimed(self, terms: dict[str, Any]) -> dict[str, Any]:
        return _without_secrets(terms)

    def actor_of(self, request: Request) -> Actor:
        return actor_of(request) if _is_signed_in(request) else _visitor(request)

    def act(self, *, request: Request, terms: dict[str, Any], claim: Claim, actor: Actor, **path: Any) -> Answer:
        if _is_signed_in(request):
            return self._open_live_account(terms, claim, actor)
        password = credentials.hash_password(terms["password"], email=terms["email"], name=terms["name"])
        return sign_up.sign_up_live(
            person=_new_person(terms),
            details=_live_details(terms),
            password=password,
            account=_account_terms(terms),
            claim=claim,
            actor=actor,
        )

    def _open_live_account(self, terms: dict[str, Any], claim: Claim, actor: Actor) -> Answer:
        user = selectors.person(claim.owner)
        if "password" in terms:
            credentials.prove(email=user.email, password=terms["password"], address=actor.address)
        known = {"email": user.email, "name": user.name, "phone": user.phone, "country": user.country}
        return sign_up.open_live_account(
            person=_new_person(known | terms),
            details=_live_details(terms),
            account=_account_terms(terms),
            claim=claim,
            actor=actor,
        )


# --- Sessions -------------------------------------------------------------------------------------------------------


def _session_response(issued: IssuedToken) -> Response:
    row = issued.row
    document = {
        "token": issued.secret.text,
        "token_id": row.id,
        "prefix": row.prefix,
        "name": row.name,
        "scopes": row.scopes,
        "expires_at": row.expires_at,
    }
    return Response(document, status=201, headers={"Cache-Control": "no-store"})


class SessionView(APIView):
    """Log in with email and password, and out with the token that came of it."""

    scopes = {"DELETE": None}
    refusals = (InvalidCredentials, sessions.LoginFrozen, sessions.StaffLoginRefused, RateLimited)

    def get_authenticators(self) -> list[Any]:
        return [] if self._is_log_in() else super().get_authenticators()

    def get_permissions(self) -> Sequence[Any]:
        return [] if self._is_log_in() else super().get_permissions()

    def _is_log_in(self) -> bool:
        return getattr(self, "request", None) is not None and self.request.method == "POST"

    @extend_schema(request=LogInForm, responses={201: SessionReceipt}, auth=[])
    def post(self, request: Request) -> Response:
        terms = LogInForm.read(request.data)
        actor = _visitor(request)
        person = credentials.prove(email=terms["email"], password=terms["password"], address=actor.address)
        return _session_response(
            sessions.log_in(
                person=person,
                scopes=terms.get("scopes", sessions.CLIENT_SCOPES),
                name=terms["name"],
                actor=replace(actor, id=person.id),
            )
        )

    @extend_schema(responses={204: None})
    def delete(self, request: Request) -> Response:
        sessions.revoke_token(owner=owner_of(request), token_id=_grant(request).id, actor=actor_of(request))
        return _no_content()


class TokensView(ListAPIView[ApiToken]):
    """A client's tokens in force: sessions, and what they made for devices and programs of their own."""

    scopes: ClassVar[dict[str, str | None]] = {"GET": "read", "POST": MANAGE, "DELETE": MANAGE}
    throttle_scope = "token"
    serializer_class = TokenSummary
    refusals = (sessions.ScopeNotHeld, sessions.LoginFrozen, sessions.TooManyTokens)

    def get_queryset(self) -> QuerySet[ApiToken]:
        return selectors.tokens_in_force(owner_of(self.request))

    @extend_schema(request=TokenForm, responses={201: SessionReceipt})
    def post(self, request: Request) -> Response:
        terms = TokenForm.read(request.data)
        hours = terms.get("expires_in_hours")
        return _session_response(
            sessions.create_token(
                owner=owner_of(request),
                held=_grant(request).scopes,
                scopes=terms["scopes"],
                name=terms["name"],
                addresses=tuple(terms["addresses"]),
                lifetime=None if hours is None else timedelta(hours=hours),
                actor=actor_of(request),
            )
        )

    @extend_schema(responses={204: None})
    def delete(self, request: Request) -> Response:
        """End every session at once, the one that asks too."""
        sessions.revoke_tokens(owner=owner_of(request), actor=actor_of(request))
        return _no_content()


class TokenView(APIView):
    """One token of a client's."""

    scopes = {"DELETE": MANAGE}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, token_id: UUID) -> Response:
        sessions.revoke_token(owner=owner_of(request), token_id=token_id, actor=actor_of(request))
        return _no_content()


# --- Passwords and letters ------------------------------------------------------------------------------------------


class PasswordChangeView(APIView):
    """Set a new password with the old one; every session ends, and the client logs in again."""

    scopes = {"POST": MANAGE}
    refusals = (InvalidCredentials, PasswordTooWeak, RateLimited)

    @extend_schema(request=PasswordChangeForm, responses={204: None})
    def post(self, request: Request) -> Response:
        terms = PasswordChangeForm.read(request.data)
        user, actor = selectors.person(owner_of(request)), actor_of(request)
        person = credentials.prove(email=user.email, password=terms["current_password"], address=actor.address)
        password = credentials.hash_password(
            terms["new_password"], field="new_password", email=user.email, name=user.name
        )
        passwords.change_password(person=person, password=password, actor=actor)
        return _no_content()


class PasswordResetView(APIView):
    """Ask for a letter with the means to set a new password; the answer is the same whether there is an account."""

    authentication_classes = ()
    permission_classes = ()
    throttle_scope = "signup"

    @extend_schema(request=PasswordResetForm, responses={202: None})
    def post(self, request: Request) -> Response:
        passwords.request_password_reset(**PasswordResetForm.read(request.data))
        return Response(status=202)


class PasswordResetConfirmView(APIView):
    """Set a new password with what the letter says."""

    authentication_classes = ()
    permission_classes = ()
    throttle_scope = "signup"
    refusals = (PasswordTooWeak, passwords.LinkInvalid)

    @extend_schema(request=PasswordResetConfirmForm, responses={204: None})
    def post(self, request: Request) -> Response:
        terms = PasswordResetConfirmForm.read(request.data)
        passwords.reset_password(
            user_id=terms["user"],
            token=terms["token"],
            password=credentials.hash_password(terms["password"]),
            actor=_visitor(request),
        )
        return _no_content()


class EmailConfirmView(APIView):
    """Prove with what the letter says that the mailbox is one's own."""

    authentication_classes = ()
    permission_classes = ()
    throttle_scope = "signup"
    refusals = (passwords.LinkInvalid,)

    @extend_schema(request=EmailConfirmForm, responses={204: None})
    def post(self, request: Request) -> Response:
        terms = EmailConfirmForm.read(request.data)
        passwords.confirm_email(user_id=terms["user"], token=terms["token"], actor=_visitor(request))
        return _no_content()


# --- Oneself --------------------------------------------------------------------------------------------------------


class MeView(APIView):
    """Who one is here, and where one stands."""

    scopes = {"GET": "read", "PATCH": MANAGE}
    refusals = (sign_up.PhoneTaken,)

    @extend_schema(responses=Profile)
    def get(self, request: Request) -> Response:
        return Response(selectors.profile_document(selectors.person(owner_of(request))))

    @extend_schema(request=ProfileChanges, responses=Profile)
    def patch(self, request: Request) -> Response:
        changes = ProfileChanges.read(request.data)
        user = profiles.update_profile(owner=owner_of(request), changes=changes, actor=actor_of(request))
        return Response(selectors.profile_document(user))


class MyVerificationView(APIView):
    """Where one stands with compliance, and where documents are handed in."""

    scopes = {"GET": "read", "POST": MANAGE}
    refusals = (
        NotFound,
        verifications.NothingToVerify,
        verifications.VerificationStateRefused,
        verifications.TooManyDocuments,
    )

    @extend_schema(responses=VerificationSummary)
    def get(self, request: Request) -> Response:
        row = selectors.verification(owner_of(request))
        if row is None:
            raise NotFound
        return Response(selectors.verification_document(row))

    @extend_schema(request=VerificationTerms, responses={201: VerificationSummary})
    def post(self, request: Request) -> Response:
        terms = VerificationTerms.read(request.data)
        row = verifications.submit_verification(
            owner=owner_of(request), documents=terms["documents"], actor=actor_of(request)
        )
        return Response(selectors.verification_document(row), status=201)
