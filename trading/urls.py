"""Where trading is found under /api/v1."""

from django.urls import path

from trading import views

# What is asked for most comes first: a route is found by trying them in this order.
urlpatterns = [
    path("orders", views.OrdersView.as_view()),
    path("positions/<uuid:position_id>/close", views.ClosePositionView.as_view()),
    path("quotes", views.QuotesView.as_view()),
    path("positions", views.PositionListView.as_view()),
    path("instruments", views.InstrumentListView.as_view()),
    path("instruments/<str:symbol>", views.InstrumentView.as_view()),
    path("quotes/<str:symbol>/history", views.QuoteHistoryView.as_view()),
    path("orders/preview", views.PreviewView.as_view()),
    path("orders/<uuid:order_id>", views.OrderView.as_view()),
    path("positions/<uuid:position_id>", views.PositionView.as_view()),
    path("positions/<uuid:position_id>/swaps", views.SwapListView.as_view()),
    path("deals", views.DealListView.as_view()),
    path("deals/<uuid:deal_id>/explain", views.ExplainDealView.as_view()),
    path("trading-accounts", views.AccountListView.as_view()),
    path("trading-accounts/<str:number>", views.AccountView.as_view()),
    path("trading-accounts/<str:number>/changes", views.ChangesView.as_view()),
    path("trading-accounts/<str:number>/margin-events", views.MarginEventListView.as_view()),
    path("margin-events/<uuid:event_id>", views.MarginEventView.as_view()),
    path("trading-accounts/<str:number>/release", views.ReleaseView.as_view()),
    path("trading-accounts/<str:number>/demo-reset", views.ResetDemoView.as_view()),
]
