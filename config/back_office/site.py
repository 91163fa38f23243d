"""The admin's front door: a password, a second factor, and a slower answer for whoever keeps guessing."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from unfold.sites import UnfoldAdminSite

from config.back_office.door import entry, secrets
from config.back_office.door.entry import LogInView, StaffLogIn


class DeskAdminSite(UnfoldAdminSite):
    """
    Only staff verified by a device get in; superusers are no exception.

    No list gets in that has a form: a library's own, such as that of groups or of devices, would be a way around roles.
    """

    login_form = StaffLogIn
    login_template = "back_office/login.html"
    index_title = "Back office"

    def has_permission(self, request: HttpRequest) -> bool:
        device = getattr(request.user, "otp_device", None)  # set by the middleware, and by the log-in itself
        return super().has_permission(request) and device is not None

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        from core.admin import ReadOnlyAdmin

        if admin_class is not None and issubclass(admin_class, ReadOnlyAdmin):
            super().register(model_or_iterable, admin_class, **options)

    def get_urls(self) -> list[URLPattern]:
        from config.back_office.pages import PAGES

        ours = [path(page.route, self.admin_view(page.open), name=page.name) for page in PAGES.values()]
        set_up = path("set-up/", never_cache(entry.set_up), name="set_up")  # for who is not in yet
        return [set_up, *ours, *super().get_urls()]

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        index = reverse("admin:index", current_app=self.name)
        if request.method == "GET" and self.has_permission(request):
            return HttpResponseRedirect(index)
        context = {
            **self.each_context(request),
            "title": "Log in",
            "site_url": None,  # there is nothing in front of this door
            "app_path": request.get_full_path(),
            REDIRECT_FIELD_NAME: request.GET.get(REDIRECT_FIELD_NAME, index),
            **(extra_context or {}),
        }
        view = LogInView.as_view(
            extra_context=context, authentication_form=self.login_form, template_name=self.login_template
        )
        return view(request)

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.method == "POST":
            entry.leave(request)
        return super().logout(request, extra_context)  # type: ignore[no-any-return]  # unfold has no types

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return secrets.password(request)

    def password_change_done(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:index"))

    def autocomplete_view(self, request: HttpRequest) -> HttpResponse:
        """Nothing is picked from a list here, since nothing is edited; as a way to search it would know no masks."""
        raise Http404
