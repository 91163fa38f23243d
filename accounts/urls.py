"""Where people sign up, log in and look at themselves; under /api/v1/."""

from django.urls import path

from accounts import views

urlpatterns = [
    path("signup/demo", views.DemoSignUpView.as_view(), name="signup-demo"),
    path("signup/live", views.LiveSignUpView.as_view(), name="signup-live"),
    path("auth/token", views.SessionView.as_view(), name="session"),
    path("auth/tokens", views.TokensView.as_view(), name="tokens"),
    path("auth/tokens/<uuid:token_id>", views.TokenView.as_view(), name="token"),
    path("auth/password/change", views.PasswordChangeView.as_view(), name="password-change"),
    path("auth/password/reset", views.PasswordResetView.as_view(), name="password-reset"),
    path("auth/password/reset/confirm", views.PasswordResetConfirmView.as_view(), name="password-reset-confirm"),
    path("auth/email/confirm", views.EmailConfirmView.as_view(), name="email-confirm"),
    path("me", views.MeView.as_view(), name="me"),
    path("me/verification", views.MyVerificationView.as_view(), name="my-verification"),
]
