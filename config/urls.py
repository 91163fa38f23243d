"""The one place that knows every room's front door."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect
from django.templatetags.static import static
from django.urls import URLPattern, URLResolver, include, path
from django.views.decorators.http import require_safe


@require_safe
def favicon(_request: HttpRequest) -> HttpResponseRedirect:
    """Browsers ask for it by this name, whatever a page says."""
    return HttpResponseRedirect(static("back_office/icon.svg"))


# What is asked for most comes first: a route is found by trying them in this order.
urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/", include("wallets.urls")),
    path("api/v1/", include("trading.urls")),
    path("api/v1/", include("accounts.urls")),
    path("api/v1/", include("referrals.urls")),
    path("", include("core.urls")),
    path("favicon.ico", favicon, name="favicon"),
    path("admin/", admin.site.urls),
]

# Problem documents under /api/, pages elsewhere.
handler400 = "core.views.bad_request"
handler403 = "core.views.permission_denied"
handler404 = "core.views.page_not_found"
handler500 = "core.views.server_error"
