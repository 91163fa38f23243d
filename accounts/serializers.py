"""What people may say about themselves, field by field, and what they are told back."""

from __future__ import annotations

import ipaddress
from datetime import date, timedelta
from typing import Any

import phonenumbers
from django.conf import settings
from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.validators import validate_email
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from accounts import rules
from accounts.models import ApiToken, Freeze, Verification
from accounts.services.sessions import CLIENT_SCOPES, LIFETIME_MAX
from core.api import (
    SecretField,
    StrictBooleanField,
    StrictChoiceField,
    StrictDateField,
    StrictDateTimeField,
    StrictIntegerField,
    StrictUUIDField,
    Terms,
    TextField,
)
from core.money import CURRENCIES
from wallets.bank import BankDetailsInvalid
from wallets.models import Environment
from wallets.serializers import BankAccountSummary, BankAccountTerms, WalletSummary

#: Nobody older is alive; an earlier date is a slip of the finger.
BORN_MIN = date(1900, 1, 1)

#: What a document proves; its reference is where the upload is kept.
DOCUMENT_KINDS = ("PASSPORT", "ID_CARD", "DRIVING_LICENCE", "PROOF_OF_ADDRESS", "BANK_STATEMENT", "SELFIE", "OTHER")

# --- Fields ---------------------------------------------------------------------------------------------------------


class EmailText(TextField):
    """An email address in ASCII; stored and compared in lower case."""

    default_error_messages = {"malformed_email": "Use an address such as name@example.com."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=254, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        value = super().to_internal_value(data)
        if not value.isascii():
            self.fail("malformed_email")
        try:
            validate_email(value)
        except DjangoValidationError:
            self.fail("malformed_email")
        return value.lower()


class PhoneText(TextField):
    """A phone number in E.164: `+`, country code and number, without blanks."""

    default_error_messages = {"malformed_phone": "Use the international form without blanks, such as +442079460018."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=16, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        value = super().to_internal_value(data)
        if not value.isascii() or not value.startswith("+") or not value[1:].isdigit():
            self.fail("malformed_phone")
        try:
            number = phonenumbers.parse(value)
        except phonenumbers.NumberParseException:
            self.fail("malformed_phone")
        if not phonenumbers.is_possible_number(number):
            self.fail("malformed_phone")
        if phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) != value:
            self.fail("malformed_phone")  # another spelling of a number that would then count as a second one
        return value


class CountryText(TextField):
    """A country by its two letters of ISO 3166."""

    default_error_messages = {"unknown_country": "Use the two capital letters of ISO 3166, such as GB."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=2, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        value = super().to_internal_value(data)
        if value not in rules.COUNTRIES:
            self.fail("unknown_country")
        return value


class NetworkText(TextField):
    """An IP address, or a network of them in CIDR notation."""

    default_error_messages = {"malformed_network": "Use an address or a network, such as 203.0.113.0/24."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=43, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        value = super().to_internal_value(data)
        try:
            return str(ipaddress.ip_network(value))
        except ValueError:
            self.fail("malformed_network")


# --- In: signing up -------------------------------------------------------------------------------------------------


class AddressTerms(Terms):
    """Where somebody lives."""

    line1 = TextField(max_length=140)
    line2 = TextField(max_length=140, allow_blank=True, default="")
    city = TextField(max_length=80)
    region = TextField(max_length=80, allow_blank=True, default="")
    postal_code = TextField(max_length=16)
    country = CountryText()


class BankForm(BankAccountTerms):
    """Where their withdrawals go; as under `/me/bank-accounts`."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        try:
            return super().to_internal_value(data)
        except BankDetailsInvalid as refusal:
            raise ValidationError(
                {named["field"]: [ErrorDetail(named["message"], code=named["code"])] for named in refusal.errors}
            ) from None


class DemoForm(Terms):
    """
    A person, and the account they would like.

    A referral code may be typed in any case and with hyphens; one that nobody has given out is refused.
    """

    email = EmailText()
    password = SecretField(max_length=128)
    name = TextField(max_length=140)
    phone = PhoneText()
    country = CountryText()
    referral_code = TextField(max_length=16, allow_blank=True, default="")
    currency = StrictChoiceField(list(CURRENCIES), default="USD")
    leverage = StrictIntegerField(
        min_value=1, max_value=settings.LEVERAGE_MAX, default=lambda: settings.LEVERAGE_DEFAULT
    )


class LiveForm(DemoForm):
    """The demo form, and what the law and the bank want to know."""

    date_of_birth = StrictDateField()
    address = AddressTerms()
    bank = BankForm()

    def validate_date_of_birth(self, value: date) -> date:
        if value < BORN_MIN:
            raise ValidationError(ErrorDetail("Use a date of birth after 1900.", code="too_early"))
        return value


class SignedInLiveForm(LiveForm):
    """The live form from somebody who is signed in: what is left out stays as it is; a password sent must be theirs."""

    email = EmailText(required=False)
    password = SecretField(max_length=128, required=False)
    name = TextField(max_length=140, required=False)
    phone = PhoneText(required=False)
    country = CountryText(required=False)


# --- In: sessions and passwords -------------------------------------------------------------------------------------


def _scopes(**options: Any) -> Any:
    scopes = StrictChoiceField([scope for scope in ApiToken.Scope.values if scope in CLIENT_SCOPES])
    return serializers.ListField(child=scopes, min_length=1, max_length=len(CLIENT_SCOPES), **options)


class LogInForm(Terms):
    """Who logs in, and what the session may do: everything, unless it says less."""

    email = EmailText()
    password = SecretField(max_length=128)
    scopes = _scopes(required=False)
    name = TextField(max_length=64, allow_blank=True, default="")


class TokenForm(Terms):
    """A further token, for a device or a program of the client's own."""

    name = TextField(max_length=64)
    scopes = _scopes()
    addresses = serializers.ListField(child=NetworkText(), max_length=16, default=list)
    expires_in_hours = StrictIntegerField(min_value=1, max_value=LIFETIME_MAX // timedelta(hours=1), required=False)


class PasswordChangeForm(Terms):
    current_password = SecretField(max_length=128)
    new_password = SecretField(max_length=128)


class PasswordResetForm(Terms):
    email = EmailText()


class PasswordResetConfirmForm(Terms):
    """`user` and `token` stand in the link of the letter."""

    user = StrictUUIDField()
    token = TextField(max_length=64)
    password = SecretField(max_length=128)


class EmailConfirmForm(Terms):
    """`user` and `token` stand in the link of the letter."""

    user = StrictUUIDField()
    token = TextField(max_length=64)


# --- In: oneself ----------------------------------------------------------------------------------------------------


class ProfileChanges(Terms):
    """What people keep up to date themselves."""

    name = TextField(max_length=140, required=False)
    phone = PhoneText(required=False)
    address = AddressTerms(required=False)


class DocumentTerms(Terms):
    kind = StrictChoiceField(DOCUMENT_KINDS)
    reference = TextField(max_length=128)


class VerificationTerms(Terms):
    documents = serializers.ListField(child=DocumentTerms(), min_length=1, max_length=10)


# --- Out ------------------------------------------------------------------------------------------------------------
# The spelling is `selectors.…_document`, which services store as their answers; the fields tell it to the API document,
# and a test holds the two together.


class AddressSummary(serializers.Serializer[Any]):
    line1 = TextField(max_length=140)
    line2 = TextField(max_length=140)
    city = TextField(max_length=80)
    region = TextField(max_length=80)
    postal_code = TextField(max_length=16)
    country = TextField(max_length=2)


class PersonSummary(serializers.Serializer[Any]):
    """A person as they see themselves; `number` is what they say on the telephone."""

    id = StrictUUIDField()
    number = TextField(max_length=20, allow_null=True)
    email = TextField(max_length=254)
    email_confirmed = StrictBooleanField()
    name = TextField(max_length=140)
    phone = TextField(max_length=16, allow_null=True)
    country = TextField(max_length=2)
    date_of_birth = StrictDateField(allow_null=True)
    address = AddressSummary(allow_null=True)
    referral_code = TextField(max_length=8, allow_null=True)
    created_at = StrictDateTimeField()


class TradingAccountOpened(serializers.Serializer[Any]):
    """A trading account's own facts; `wallet` is its margin wallet."""

    number = TextField(max_length=20)
    environment = StrictChoiceField(Environment)
    currency = StrictChoiceField(list(CURRENCIES))
    leverage = StrictIntegerField()
    jurisdiction = TextField(max_length=16, help_text="Whose leverage caps apply: a regulator's, or DESK.")
    is_self_trading = StrictBooleanField()
    wallet = TextField(max_length=40)
    created_at = StrictDateTimeField()


class DocumentSummary(serializers.Serializer[Any]):
    kind = StrictChoiceField(DOCUMENT_KINDS)
    reference = TextField(max_length=128)
    submitted_at = StrictDateTimeField()


class VerificationSummary(serializers.Serializer[Any]):
    """Where a client stands with compliance; `action_required` says what is missing."""

    id = StrictUUIDField()
    status = StrictChoiceField(Verification.Status)
    documents = DocumentSummary(many=True)
    action_required = TextField(max_length=500)
    submitted_at = StrictDateTimeField(allow_null=True)
    reviewed_at = StrictDateTimeField(allow_null=True)


class Profile(PersonSummary):
    """A person with where they stand."""

    verification = VerificationSummary(allow_null=True)
    frozen = serializers.ListField(child=StrictChoiceField(Freeze.Scope))
    trading_accounts = TradingAccountOpened(many=True)


class DemoWelcome(serializers.Serializer[Any]):
    """What a newcomer gets; to use it, they log in."""

    user = PersonSummary()
    trading_account = TradingAccountOpened()
    wallets = WalletSummary(many=True)
    referral_code = TextField(max_length=8)


class LiveWelcome(DemoWelcome):
    bank_account = BankAccountSummary()
    verification = VerificationSummary()


class SessionReceipt(serializers.Serializer[Any]):
    """A token; its secret is shown this once."""

    token = TextField(max_length=64)
    token_id = StrictUUIDField()
    prefix = TextField(max_length=12)
    name = TextField(max_length=64)
    scopes = serializers.ListField(child=StrictChoiceField(ApiToken.Scope))
    expires_at = StrictDateTimeField()


class TokenSummary(serializers.Serializer[Any]):
    """A token in force, without its secret."""

    id = StrictUUIDField()
    name = TextField(max_length=64)
    prefix = TextField(max_length=12)
    scopes = serializers.ListField(child=StrictChoiceField(ApiToken.Scope))
    addresses = serializers.ListField(child=TextField(max_length=43))
    created_at = StrictDateTimeField()
    last_used_at = StrictDateTimeField(allow_null=True)
    expires_at = StrictDateTimeField()
