"""What a client must be and what a code must look like; nothing here asks the database."""

from __future__ import annotations

import re
import secrets
from datetime import date
from typing import NamedTuple

from core.errors import DomainError

# --- People ---------------------------------------------------------------------------------------------------------

AGE_MIN_YEARS = 18

#: ISO 3166-1 alpha-2, as officially assigned.
COUNTRIES = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA
    CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA
    GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP
    KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS
    MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS
    RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW
    TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
    """.split()
)


class UnderAge(DomainError):
    code = "UNDER_AGE"
    message = "A live account needs an age of {min} years."


def age_on(day: date, *, born: date) -> int:
    """Completed years of life; who was born on 29 February has their birthday on 1 March in other years."""
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


def require_of_age(born: date, *, today: date) -> None:
    """:raises UnderAge: if a person born then is a minor today"""
    if age_on(today, born=born) < AGE_MIN_YEARS:
        message = UnderAge.message.format(min=AGE_MIN_YEARS)
        raise UnderAge(
            errors=[{"field": "date_of_birth", "code": UnderAge.code, "message": message}], min=AGE_MIN_YEARS
        )


# --- Referral codes -------------------------------------------------------------------------------------------------


class ReferralCodeInvalid(DomainError):
    code = "REFERRAL_CODE_INVALID"
    message = "Nobody has given out this referral code; check it for typing errors, or leave it out."
    status = 400


class SelfReferral(DomainError):
    code = "SELF_REFERRAL"
    message = "Nobody refers themselves; sign up without a referral code."


_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_REFERRAL_CODE = re.compile(rf"\A[{_CROCKFORD}]{{8}}\Z", re.ASCII)
_CHECK_MODULUS = 37
_MISREAD = str.maketrans({"I": "1", "L": "1", "O": "0", "-": None})


def new_referral_code() -> str:
    """
    Seven random characters of Crockford's base 32 and their check character.

    His check is the value modulo 37, which catches every wrong character and every swapped pair, and has five symbols
    beyond the alphabet. Codes that would end in one of those are passed over: they are awkward to say and to type.
    """
    while True:
        data = "".join(secrets.choice(_CROCKFORD) for _ in range(7))
        check = _check(data)
        if check < len(_CROCKFORD):
            return data + _CROCKFORD[check]


def read_referral_code(typed: str) -> str | None:
    """The code that was meant: in any case, with hyphens, with I and L for 1 and O for 0; None if it cannot be one."""
    code = typed.upper().translate(_MISREAD)
    if _REFERRAL_CODE.match(code) is None or _check(code[:7]) != _CROCKFORD.index(code[7]):
        return None
    return code


def is_same_code(typed: str, other: str) -> bool:
    """Whether two spellings mean one code; what is no code means only itself."""
    return typed == other or read_referral_code(typed) == read_referral_code(other) is not None


def mailbox(email: str) -> str:
    """
    The mailbox that an address delivers to, as far as every provider agrees: lower case, without a `+tag`.

    Dots stay: they make no difference at one provider and all the difference at others.
    """
    local, _, domain = email.lower().rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


def _check(data: str) -> int:
    value = 0
    for character in data:
        value = value * len(_CROCKFORD) + _CROCKFORD.index(character)
    return value % _CHECK_MODULUS


# --- Staff ----------------------------------------------------------------------------------------------------------


class Role(NamedTuple):
    """
    What one role may look at, and what it may do.

    `views` names tables (`wallets.withdrawal`), all of an app's (`trading.*`), or all of the desk's (`*`). `does` names
    permissions in full (`wallets.change_withdrawal`); to be allowed to change something is to be allowed to look at it.
    """

    views: tuple[str, ...]
    does: tuple[str, ...]


#: The permission matrix. Nobody has more than this, and `define_roles` refuses to start from a name that means nothing.
ROLES: dict[str, Role] = {
    # Answers the telephone: sees what a client asks about, but neither where they live nor how to reach them.
    "support": Role(
        views=(
            "accounts.user",
            "accounts.tradingaccount",
            "accounts.verification",
            "accounts.freeze",
            "wallets.wallet",
            "wallets.entry",
            "wallets.ledgertransaction",
            "wallets.transfer",
            "wallets.deposit",
            "wallets.withdrawal",
            "wallets.bankaccount",
            "trading.order",
            "trading.position",
            "trading.deal",
            "trading.swap",
            "trading.marginevent",
            "trading.instrument",
            "referrals.commission",
            "referrals.signupbonus",
            "clients.clientnote",
        ),
        does=(
            "accounts.enter_back_office",
            "clients.add_clientnote",
        ),
    ),
    # Knows who a client is, and stops them.
    "kyc": Role(
        views=(
            "accounts.user",
            "accounts.tradingaccount",
            "accounts.verification",
            "accounts.freeze",
            "accounts.referrerchange",
            "accounts.apitoken",
            "wallets.*",
            "trading.*",
            "referrals.*",
            "core.auditevent",
            "clients.clientnote",
            "alerts.alert",
            "alerts.alertrule",
            "alerts.alertnote",
            "exports.export",
            "dashboards.figure",
            "dashboards.figureset",
        ),
        does=(
            "accounts.enter_back_office",
            "accounts.see_personal_data",
            "accounts.change_verification",
            "accounts.add_freeze",
            "accounts.change_freeze",
            "accounts.add_referrerchange",
            "accounts.change_referrerchange",
            "clients.add_clientnote",
            "alerts.change_alert",
            "alerts.add_alertnote",
            "exports.add_export",
        ),
    ),
    # Lets money in and out.
    "finance": Role(
        views=(
            "accounts.user",
            "accounts.tradingaccount",
            "accounts.verification",
            "accounts.freeze",
            "accounts.referrerchange",
            "wallets.*",
            "trading.*",
            "referrals.*",
            "core.auditevent",
            "core.idempotencykey",
            "core.jobrun",
            "core.killswitch",
            "clients.clientnote",
            "alerts.alert",
            "alerts.alertnote",
            "exports.export",
            "dashboards.figure",
            "dashboards.figureset",
            "reconciliation.*",
        ),
        does=(
            "accounts.enter_back_office",
            "accounts.see_personal_data",
            "wallets.change_deposit",
            "wallets.change_withdrawal",
            "wallets.add_adjustment",
            "wallets.change_adjustment",
            "referrals.change_commission",
            "reconciliation.change_break",
            "clients.add_clientnote",
            "alerts.add_alertnote",
            "exports.add_export",
        ),
    ),
    # Runs the market, and knows accounts rather than people.
    "dealing": Role(
        views=(
            "accounts.user",
            "accounts.tradingaccount",
            "accounts.freeze",
            "accounts.verification",
            "wallets.wallet",
            "wallets.entry",
            "wallets.ledgertransaction",
            "trading.*",
            "core.jobrun",
            "core.killswitch",
            "clients.clientnote",
            "dashboards.figure",
            "dashboards.figureset",
        ),
        does=(
            "accounts.enter_back_office",
            "core.change_killswitch",
            "trading.change_instrument",
            "clients.add_clientnote",
        ),
    ),
    # Reads everything and writes nothing.
    "auditor": Role(
        views=("*",),
        does=(
            "accounts.enter_back_office",
            "accounts.see_personal_data",
            "exports.add_export",
        ),
    ),
    # People only: who works here and how they get in. No money, and no decision about a client.
    "admin": Role(
        views=("accounts.user", "accounts.apitoken", "accounts.staffsession"),
        does=("accounts.enter_back_office", "accounts.see_personal_data", "accounts.administer_staff"),
    ),
}
