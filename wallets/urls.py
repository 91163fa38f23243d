"""Where money at rest is found."""

from django.urls import path

from wallets import views

urlpatterns = [
    path("wallets", views.WalletListView.as_view(), name="wallets"),
    path("wallets/<str:number>", views.WalletView.as_view(), name="wallet"),
    path("wallets/<str:number>/entries", views.StatementView.as_view(), name="statement"),
    path("transfers", views.TransfersView.as_view(), name="transfers"),
    path("transfers/<uuid:transfer_id>", views.TransferView.as_view(), name="transfer"),
    path("deposits", views.DepositsView.as_view(), name="deposits"),
    path("deposits/<uuid:deposit_id>", views.DepositView.as_view(), name="deposit"),
    path("payments/webhook", views.PaymentWebhookView.as_view(), name="payment-webhook"),
    path("withdrawals", views.WithdrawalsView.as_view(), name="withdrawals"),
    path("withdrawals/<uuid:withdrawal_id>", views.WithdrawalView.as_view(), name="withdrawal"),
    path(
        "withdrawals/<uuid:withdrawal_id>/cancel",
        views.WithdrawalCancellationView.as_view(),
        name="withdrawal-cancellation",
    ),
    path("me/bank-accounts", views.BankAccountsView.as_view(), name="bank-accounts"),
]
