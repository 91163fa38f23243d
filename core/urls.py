"""Where operators and machines look, and the API's own description."""

from django.urls import path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView

from core import views
from core.api.schema import CachedGenerator

urlpatterns = [
    path("health/live", views.live, name="live"),
    path("health/ready", views.ready, name="ready"),
    path("metrics", views.metrics, name="metrics"),
    path("api/v1/error-codes", views.ErrorCodesView.as_view(), name="error-codes"),
    path("api/schema", SpectacularJSONAPIView.as_view(generator_class=CachedGenerator), name="schema"),
    path("api/docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
]
