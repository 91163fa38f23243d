"""Where referrals are found under /api/v1."""

from django.urls import path

from referrals import views

urlpatterns = [
    path("referrals/bonuses", views.BonusesView.as_view()),
]
