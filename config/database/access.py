"""What the running desk may do to each table beside reading it; what is not here, a test asks about."""

from __future__ import annotations

from enum import Enum

OWNER = "desk_owner"  # migrates; an installation may call it what it likes, as it is whoever owns the tables
RUNTIME = "desk_runtime"  # the web, the engines, the jobs
READER = "desk_reader"  # reports, exports, monitoring


class Access(Enum):
    """
    What the running desk may do to the rows of one table. Nobody but the owner empties, alters or drops one.

    Locking a row takes the right to update a column of it, so where rows are only purged that is their key: nothing
    refers to them, and nothing they say can be changed.
    """

    READ = "READ"  # the migrations' own
    APPEND = "APPEND"  # history: it can be added to
    PURGE = "PURGE"  # history that is kept for a while: it can be added to, and forgotten
    KEEP = "KEEP"  # rows that change, and are never gone
    CHANGE = "CHANGE"  # rows that come and go

    @property
    def privileges(self) -> frozenset[str]:
        """On the whole table."""
        return _PRIVILEGES[self]


_PRIVILEGES = {
    Access.READ: frozenset({"SELECT"}),
    Access.APPEND: frozenset({"SELECT", "INSERT"}),
    Access.PURGE: frozenset({"SELECT", "INSERT", "DELETE"}),
    Access.KEEP: frozenset({"SELECT", "INSERT", "UPDATE"}),
    Access.CHANGE: frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"}),
}

TABLES = {
    # core
    "core_auditevent": Access.APPEND,
    "core_idempotencykey": Access.CHANGE,  # answered, and purged when they are old
    "core_jobrun": Access.KEEP,
    "core_killswitch": Access.KEEP,
    "core_throttlewindow": Access.CHANGE,
    # wallets
    "wallets_adjustment": Access.KEEP,
    "wallets_bankaccount": Access.KEEP,
    "wallets_deposit": Access.KEEP,
    "wallets_entry": Access.APPEND,
    "wallets_ledgertransaction": Access.APPEND,
    "wallets_paymentreport": Access.KEEP,
    "wallets_seal": Access.APPEND,
    "wallets_transfer": Access.APPEND,
    "wallets_unfoldedleg": Access.PURGE,  # folded into the snapshots that they belong to
    "wallets_wallet": Access.KEEP,
    "wallets_withdrawal": Access.KEEP,
    # accounts
    "accounts_apitoken": Access.CHANGE,
    "accounts_freeze": Access.KEEP,
    "accounts_referrerchange": Access.KEEP,
    "accounts_staffsession": Access.KEEP,
    "accounts_tradingaccount": Access.KEEP,
    "accounts_user": Access.KEEP,
    "accounts_user_groups": Access.CHANGE,
    "accounts_user_user_permissions": Access.READ,  # staff have roles, and nothing beside them
    "accounts_verification": Access.KEEP,
    # trading
    "trading_accountchange": Access.PURGE,
    "trading_accountwatch": Access.KEEP,
    "trading_deal": Access.APPEND,
    "trading_holiday": Access.KEEP,
    "trading_instrument": Access.KEEP,
    "trading_leveragecap": Access.KEEP,
    "trading_marginevent": Access.APPEND,
    "trading_order": Access.KEEP,
    "trading_position": Access.KEEP,
    "trading_priceband": Access.CHANGE,
    "trading_pricebatch": Access.PURGE,
    "trading_priceclock": Access.KEEP,
    "trading_quote": Access.KEEP,
    "trading_quotealert": Access.PURGE,
    "trading_quotetick": Access.PURGE,
    "trading_riskcursor": Access.KEEP,
    "trading_risktask": Access.CHANGE,
    "trading_swap": Access.APPEND,
    "trading_tradingsession": Access.CHANGE,
    # referrals
    "referrals_accrual": Access.KEEP,
    "referrals_bonusidentity": Access.APPEND,
    "referrals_bonuspolicy": Access.APPEND,
    "referrals_commission": Access.KEEP,
    "referrals_commissionplan": Access.KEEP,  # a version gets its end
    "referrals_debt": Access.KEEP,
    "referrals_debtsettlement": Access.APPEND,
    "referrals_signupbonus": Access.KEEP,
    # the back office
    "alerts_alert": Access.KEEP,
    "alerts_alertcursor": Access.KEEP,
    "alerts_alertnote": Access.APPEND,
    "alerts_alertrule": Access.APPEND,
    "clients_clientnote": Access.APPEND,
    "dashboards_figure": Access.CHANGE,
    "dashboards_figureset": Access.CHANGE,
    "exports_export": Access.KEEP,
    "reconciliation_break": Access.KEEP,
    "reconciliation_run": Access.KEEP,
    # Django and its guests
    "auth_group": Access.CHANGE,
    "auth_group_permissions": Access.CHANGE,
    "auth_permission": Access.READ,
    "django_admin_log": Access.READ,  # nothing is changed by form, so nothing is logged there
    "django_content_type": Access.READ,
    "django_migrations": Access.READ,
    "django_session": Access.CHANGE,
    "otp_static_staticdevice": Access.CHANGE,
    "otp_static_statictoken": Access.CHANGE,
    "otp_totp_totpdevice": Access.CHANGE,
}

#: What lets somebody in, or repeats an answer that may. A report needs none of it, so who only reads does not see it.
SECRET_TABLES = frozenset(
    {
        "accounts_apitoken",
        "accounts_staffsession",
        "core_idempotencykey",
        "django_session",
        "otp_static_staticdevice",
        "otp_static_statictoken",
        "otp_totp_totpdevice",
    }
)
SECRET_COLUMNS = {"accounts_user": frozenset({"password"})}
