"""Where referrals are found under /api/v1."""

from django.urls import path

from referrals import views

urlpatterns = [
    path("referrals", views.ReferralsView.as_view()),
    path("referrals/commissions", views.CommissionListView.as_view()),
    path("referrals/statistics", views.StatisticsView.as_view()),
    path("referrals/bonuses", views.BonusesView.as_view()),
]
