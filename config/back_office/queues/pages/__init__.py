"""Every queue's pages: importing them puts them among the site's."""

from config.back_office.queues.pages import (
    adjustments,
    commissions,
    deposits,
    freezes,
    overview,
    switches,
    verifications,
    withdrawals,
)

__all__ = [
    "adjustments",
    "commissions",
    "deposits",
    "freezes",
    "overview",
    "switches",
    "verifications",
    "withdrawals",
]
