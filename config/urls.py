"""The one place that knows every room's front door."""

from functools import lru_cache

from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect
from django.templatetags.static import static
from django.urls import Resolver404, ResolverMatch, URLPattern, URLResolver, include, path
from django.urls.resolvers import RoutePattern
from django.views.decorators.http import require_safe


@require_safe
def favicon(_request: HttpRequest) -> HttpResponseRedirect:
    """Browsers ask for it by this name, whatever a page says."""
    return HttpResponseRedirect(static("back_office/icon.svg"))


class Remembering(URLResolver):
    """Tries its routes in order, once for each of the paths that are asked for most."""

    PATHS_MAX = 1024

    def __init__(self, route: str, routes: list[URLPattern | URLResolver]) -> None:
        super().__init__(RoutePattern(route), routes)
        self._find = lru_cache(self.PATHS_MAX)(super().resolve)

    def resolve(self, path: str) -> ResolverMatch:
        """:raises Resolver404: if no route fits, or the path has a character that no database looks up"""
        if "\x00" in path:
            raise Resolver404({"path": path})
        return self._find(str(path))


# What is asked for most comes first: a route is found by trying them in this order.
urlpatterns: list[URLPattern | URLResolver] = [
    Remembering(
        "api/v1/",
        [
            path("", include("wallets.urls")),
            path("", include("trading.urls")),
            path("", include("accounts.urls")),
            path("", include("referrals.urls")),
        ],
    ),
    path("", include("core.urls")),
    path("favicon.ico", favicon, name="favicon"),
    path("admin/", admin.site.urls),
]

# Problem documents under /api/, pages elsewhere.
handler400 = "core.views.bad_request"
handler403 = "core.views.permission_denied"
handler404 = "core.views.page_not_found"
handler500 = "core.views.server_error"
