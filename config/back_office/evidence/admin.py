"""The lists of transactions and orders, as their rooms have them, with a way from each row to its whole story."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

import trading.admin
import wallets.admin
from config.back_office.cells import anchor
from trading.models import Order
from wallets.models import LedgerTransaction

admin.site.unregister([LedgerTransaction, Order])


@admin.register(LedgerTransaction)
class TransactionAdmin(wallets.admin.LedgerTransactionAdmin):
    def get_list_display(self, request: HttpRequest) -> Any:
        return (*super().get_list_display(request), "evidence")

    @admin.display(description="Both sides")
    def evidence(self, row: LedgerTransaction) -> SafeString:
        return anchor(reverse("admin:ledger-transaction", args=[row.pk]), "Both sides")


@admin.register(Order)
class OrderAdmin(trading.admin.OrderAdmin):
    def get_list_display(self, request: HttpRequest) -> Any:
        return (*super().get_list_display(request), "evidence")

    @admin.display(description="Timeline")
    def evidence(self, row: Order) -> SafeString:
        return anchor(reverse("admin:order", args=[row.pk]), "Timeline")
