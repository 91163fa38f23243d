"""A bank number is checked before it is kept, kept only encrypted, and found again only by whoever holds the key."""

from __future__ import annotations

import functools
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NoReturn
from uuid import UUID

import schwifty
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from schwifty.exceptions import SchwiftyException

from core import db
from core.errors import DomainError
from core.ids import frame
from wallets.models import BankAccount

Scheme = BankAccount.Scheme

#: What people put between the characters of a code or number, and banks do not mean.
_SEPARATORS = re.compile(r"[ \-]")

#: Before schwifty sees anything: it takes other scripts' digits for digits.
_IBAN = re.compile(r"\A[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}\Z", re.ASCII)
_BIC = re.compile(r"\A[A-Z0-9]{8}(?:[A-Z0-9]{3})?\Z", re.ASCII)
_IFSC = re.compile(r"\A[A-Z]{4}0[A-Z0-9]{6}\Z", re.ASCII)
_ABA = re.compile(r"\A[0-9]{9}\Z", re.ASCII)
_SORT = re.compile(r"\A[0-9]{6}\Z", re.ASCII)

#: The account numbers that a scheme's banks hand out; an IBAN is its own check.
_NUMBER_BY_SCHEME = {
    Scheme.BIC: (re.compile(r"\A[A-Z0-9]{4,34}\Z", re.ASCII), "4 to 34 letters and digits"),
    Scheme.IFSC: (re.compile(r"\A[0-9]{9,18}\Z", re.ASCII), "9 to 18 digits"),
    Scheme.ABA: (re.compile(r"\A[0-9]{4,17}\Z", re.ASCII), "4 to 17 digits"),
    Scheme.SORT: (re.compile(r"\A[0-9]{8}\Z", re.ASCII), "8 digits"),
}

_ABA_WEIGHTS = (3, 7, 1, 3, 7, 1, 3, 7, 1)

BANK_ACCOUNTS_MAX = 10


class BankDetailsInvalid(DomainError):
    code = "BANK_DETAILS_INVALID"
    message = "These bank details cannot be right; `errors` names the field. Nothing was stored."
    status = 400


class BankAccountKnown(DomainError):
    code = "BANK_ACCOUNT_KNOWN"
    message = "This bank account is on file already, ending in {last_four}."
    status = 409


class BankAccountsLimitReached(DomainError):
    code = "BANK_ACCOUNTS_LIMIT_REACHED"
    message = "At most {max} bank accounts are kept on file."


class BankNumberUnreadable(DomainError):
    code = "BANK_NUMBER_UNREADABLE"
    message = "A stored bank number cannot be decrypted with the keys at hand, or is not the one that was stored."
    status = 500


@dataclass(frozen=True, slots=True)
class BankDetails:
    """Checked and in one spelling: upper case, no separators. The number stays out of `repr`, hence of tracebacks."""

    scheme: Scheme
    code: str
    number: str = field(repr=False)


def validate_bank_details(*, code_type: str, code: str, number: str) -> BankDetails:
    """
    Check details as their scheme allows, and normalise them.

    IBAN: the number is the IBAN (length, country format, check digits); a BIC may accompany it. BIC: the code is the
    BIC. IFSC: four letters, zero, six characters. ABA: nine digits with their check digit. SORT: six digits, and an
    eight-digit account number. What is refused is never repeated in the refusal.

    :raises BankDetailsInvalid: naming the field, `code` or `number`
    """
    scheme = Scheme(code_type)
    code, number = _compact(code), _compact(number)
    if scheme == Scheme.IBAN:
        _require_iban(number)
        return BankDetails(scheme, _bic(code) if code else "", number)
    details = BankDetails(scheme, _CODE_BY_SCHEME[scheme](code), number)
    pattern, expected = _NUMBER_BY_SCHEME[scheme]
    if pattern.match(number) is None:
        _refuse("number", f"With {scheme}, the account number has {expected}.")
    return details


def store_bank_account(
    *, owner: UUID, holder: str, bank_name: str, branch: str, code_type: str, code: str, number: str
) -> BankAccount:
    """
    Put a bank account on file inside the caller's transaction; the owner's first one becomes their default.

    Everything that can refuse comes before the write. The owner's row is locked meanwhile, so that two first accounts
    added at once cannot both be the default; nothing else waits for that lock, and no wallet is locked under it.

    :raises BankDetailsInvalid: naming the field, `code` or `number`
    :raises BankAccountKnown: if the owner has it on file
    :raises BankAccountsLimitReached: if the owner has too many
    """
    db.require_transaction()
    details = validate_bank_details(code_type=code_type, code=code, number=number)
    token, hashed = encrypt(details.number), number_hash(details)
    # Evaluated for the lock alone.
    list(get_user_model().objects.select_for_update(no_key=True).filter(pk=owner).order_by("pk").values_list("pk"))
    kept = list(BankAccount.objects.filter(owner_id=owner).values_list("number_hash", "is_default"))
    if any(bytes(known) == hashed for known, _ in kept):
        raise BankAccountKnown(last_four=details.number[-4:])
    if len(kept) >= BANK_ACCOUNTS_MAX:
        raise BankAccountsLimitReached(max=BANK_ACCOUNTS_MAX)
    return BankAccount.objects.create(
        owner_id=owner,
        holder=holder,
        bank_name=bank_name,
        branch=branch,
        code_type=details.scheme,
        code=details.code,
        number_encrypted=token,
        number_hash=hashed,
        number_last_four=details.number[-4:],
        is_default=not any(is_default for _, is_default in kept),
    )


def read_number(account: BankAccount) -> str:
    """
    The account's number in clear, proven to be the one that was stored with this row.

    :raises BankNumberUnreadable: if it cannot be decrypted, or if someone has put another number in its place
    """
    number = decrypt(bytes(account.number_encrypted))
    details = BankDetails(Scheme(account.code_type), account.code, number)
    if not hmac.compare_digest(number_hash(details), bytes(account.number_hash)):
        raise BankNumberUnreadable
    return number


def encrypt(number: str) -> bytes:
    """
    The number under the newest key.

    :raises ImproperlyConfigured: without a usable key, so that nothing is ever kept in clear
    """
    return cipher().encrypt(number.encode())


def decrypt(token: bytes) -> str:
    """
    The number behind a stored token, whichever of the keys made it.

    :raises BankNumberUnreadable: if none of the keys did
    """
    try:
        return cipher().decrypt(token).decode()
    except InvalidToken:
        raise BankNumberUnreadable from None


def reencrypt(token: bytes) -> bytes | None:
    """
    The same number under the newest key, or None where that key made the token.

    :raises BankNumberUnreadable: if none of the keys did
    """
    try:
        Fernet(settings.FIELD_ENCRYPTION_KEYS[0]).decrypt(token)
    except InvalidToken:
        return encrypt(decrypt(token))
    return None


def number_hash(details: BankDetails) -> bytes:
    """
    HMAC-SHA256 over scheme, code and number: equal for one account however it was typed, meaningless without the key.

    An IBAN contains its bank, so an accompanying BIC makes no difference.
    """
    code = "" if details.scheme == Scheme.IBAN else details.code
    message = frame("bank-number", details.scheme, code, details.number)
    return hmac.new(settings.FIELD_HASH_KEY.encode(), message, sha256).digest()


def cipher() -> MultiFernet:
    """
    Encrypts with the first of FIELD_ENCRYPTION_KEYS and decrypts with any.

    :raises ImproperlyConfigured: if there is no key or one of them is malformed; never falls back to storing in clear
    """
    return _cipher(tuple(settings.FIELD_ENCRYPTION_KEYS))


@functools.cache
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError:
        raise ImproperlyConfigured(
            "FIELD_ENCRYPTION_KEYS needs at least one key, each 32 bytes in URL-safe base64; `make secret` prints one"
        ) from None


# --- The schemes ----------------------------------------------------------------------------------------------------


def _compact(text: str) -> str:
    return _SEPARATORS.sub("", text).upper()


def _require_iban(number: str) -> None:
    try:
        if _IBAN.match(number) is not None:
            schwifty.IBAN(number)
            return
    except SchwiftyException:
        pass
    _refuse("number", "This is not an IBAN: its country, length or check digits are wrong.")


def _bic(code: str) -> str:
    try:
        bic = str(schwifty.BIC(code)) if _BIC.match(code) is not None else ""
    except SchwiftyException:
        bic = ""
    if not bic:
        _refuse("code", "This is not a BIC: 8 or 11 characters, with the country in the fifth and sixth.")
    # The head office's BIC has two spellings.
    return bic.removesuffix("XXX") if len(bic) == 11 else bic


def _ifsc(code: str) -> str:
    if _IFSC.match(code) is None:
        _refuse("code", "An IFSC is four letters, a zero and six letters or digits.")
    return code


def _aba(code: str) -> str:
    digits = [int(character) for character in code] if _ABA.match(code) else []
    checksum = sum(digit * weight for digit, weight in zip(digits, _ABA_WEIGHTS, strict=False))
    if checksum == 0 or checksum % 10:  # 0: nine zeros, or not nine digits at all
        _refuse("code", "A routing number is nine digits, the last of which checks the others.")
    return code


def _sort(code: str) -> str:
    if _SORT.match(code) is None:
        _refuse("code", "A sort code is six digits.")
    return code


_CODE_BY_SCHEME: dict[Scheme, Callable[[str], str]] = {
    Scheme.BIC: _bic,
    Scheme.IFSC: _ifsc,
    Scheme.ABA: _aba,
    Scheme.SORT: _sort,
}


def _refuse(name: str, message: str) -> NoReturn:
    raise BankDetailsInvalid(errors=[{"field": name, "code": BankDetailsInvalid.code, "message": message}])
