"""Everything that differs between installations comes from the environment, and a missing secret stops the start."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

from config import secret_files

# --- Reading the environment --------------------------------------------------------------------------------------

BASE_DIR = Path(__file__).resolve().parent.parent
env = secret_files.Env()  # NAME_FILE names a file that holds NAME: how orchestrators hand over secrets


def flag(name: str, *, default: bool) -> bool:
    """A switch; a typo in it fails at start instead of meaning `false`."""
    text = env.str(name, default=str(default)).strip().lower()
    if text not in {"true", "false", "1", "0", "on", "off", "yes", "no"}:
        raise ImproperlyConfigured(f"{name}={text!r} is not a switch; use true or false")
    return text in {"true", "1", "on", "yes"}


def secret(name: str, *, length_min: int = 32) -> str:
    """A secret without a default; short ones are refused because they are usually placeholders."""
    value = env.verbatim(name)
    if not value:
        raise ImproperlyConfigured(f"Set the {name} environment variable, or {name}_FILE")
    if len(value) < length_min:
        raise ImproperlyConfigured(f"{name} must have at least {length_min} characters")
    return value


# --- Secrets --------------------------------------------------------------------------------------------------------

SECRET_KEY = secret("SECRET_KEY")
#: Files with secrets that anybody on this machine may read; `check --deploy` names them.
SECRETS_OPEN_TO_ALL = env.ENVIRON.open_to_all
#: Fernet keys for bank numbers, newest first; the others still decrypt. Make one with `make secret`.
FIELD_ENCRYPTION_KEYS: list[str] = env.list("FIELD_ENCRYPTION_KEYS")
#: Keyed hash that makes encrypted bank numbers searchable. Changing it makes them unfindable.
FIELD_HASH_KEY = secret("FIELD_HASH_KEY")
#: Shared with the payment provider: signs its webhooks.
PAYMENT_WEBHOOK_SECRET = secret("PAYMENT_WEBHOOK_SECRET")
#: Ed25519 private key (32 bytes, hex) that seals the ledger, and where sealed exports go. Kept outside the database.
LEDGER_SEAL_KEY = secret("LEDGER_SEAL_KEY", length_min=64)
LEDGER_SEAL_DIR = Path(env.str("LEDGER_SEAL_DIR", default=str(BASE_DIR / "var" / "seals")))

# --- Where it runs --------------------------------------------------------------------------------------------------

DEBUG = flag("DEBUG", default=False)
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=[])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])
#: Plain HTTP is for loopback demos only; TLS ends at the proxy in front, which then sets X-Forwarded-Proto.
INSECURE_HTTP = flag("INSECURE_HTTP", default=False)
#: Only a deployment that has a proxy which overwrites these headers may trust them.
TRUST_PROXY_HEADERS = flag("TRUST_PROXY_HEADERS", default=False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUST_PROXY_HEADERS else None
SECURE_SSL_REDIRECT = not INSECURE_HTTP
SECURE_REDIRECT_EXEMPT = [r"^health/"]  # the orchestrator asks from inside, in plain HTTP
SESSION_COOKIE_SECURE = not INSECURE_HTTP
CSRF_COOKIE_SECURE = not INSECURE_HTTP
SECURE_HSTS_SECONDS = 0 if INSECURE_HTTP else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = not INSECURE_HTTP
SECURE_HSTS_PRELOAD = not INSECURE_HTTP
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
SESSION_ENGINE = "config.back_office.door.sessions"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 8 * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True

#: Nothing may load anything; the API's answers are data.
SECURE_CSP: dict[str, list[str]] = {
    "default-src": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'none'"],
    "frame-ancestors": ["'none'"],
}
#: What pages for people need on top, by the start of their path.
SECURE_CSP_BY_PREFIX: dict[str, dict[str, list[str]]] = {
    "/api/docs": {
        "script-src": ["'self'"],
        "style-src": ["'self'", "'unsafe-inline'"],  # Swagger UI writes style elements
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
    },
    "/admin/": {
        "script-src": ["'self'", "'unsafe-eval'"],  # unfold's Alpine evaluates the attributes of our own templates
        "style-src": ["'self'", "'unsafe-inline'"],  # and writes styles
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
    },
}
PERMISSIONS_POLICY = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"

# --- What it is made of ---------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "config.database",
    "config.back_office",
    "config.back_office.alerts",
    "config.back_office.clients",
    "config.back_office.dashboards",
    "config.back_office.door",
    "config.back_office.evidence",
    "config.back_office.exports",
    "config.back_office.queues",
    "config.back_office.reconciliation",
    "unfold.apps.BasicAppConfig",  # the admin's looks; its templates come before Django's
    "unfold.contrib.filters",
    "config.apps.BackOfficeConfig",  # django.contrib.admin behind a second factor
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",  # recovery codes
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "core",
    "wallets",
    "accounts",
    "trading",
    "referrals",
]

MIDDLEWARE = [
    "core.middleware.RequestContext",  # first: everything after it logs with the request's id and keeps its deadline
    "core.middleware.SecurityHeaders",  # around whatever answers, a refusal or a static file
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "core.middleware.Admission",  # before anything that costs: a saturated box says 503 at once
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "core.middleware.BodyLimit",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "config.middleware.Session",  # Django's own, as are the next ones, but for pages alone
    "config.middleware.Authentication",
    "config.middleware.OTP",
    "config.middleware.Message",
    "config.middleware.Staff",  # with messages: it says why it logs somebody out
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False  # a POST redirected to another URL loses its body
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(BASE_DIR / "var" / "static")))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
FORMAT_MODULE_PATH = "config.formats"  # how dates are written in the back office
LANGUAGE_CODE = "en"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Database -------------------------------------------------------------------------------------------------------

#: All processes together stay below this; `config/gunicorn.py` refuses to start with more threads than its share.
DATABASE_CONNECTIONS_MAX = env.int("DATABASE_CONNECTIONS_MAX", default=50)
#: Behind PgBouncer in transaction mode: no start-up options (set them on the role) and nothing prepared by name.
DATABASE_BEHIND_PGBOUNCER = flag("DATABASE_BEHIND_PGBOUNCER", default=False)
#: A pool per process where threads outnumber connections; 0 keeps one connection per thread.
DATABASE_POOL_SIZE = env.int("DATABASE_POOL_SIZE", default=0)

#: What every session starts with. Sent by the desk itself, and by `define_database_roles` made the role's own as well:
#: behind PgBouncer nothing is sent.
SESSION_OPTIONS = {
    "lock_timeout": "2000",
    "statement_timeout": "5000",
    "idle_in_transaction_session_timeout": "10000",
    "client_connection_check_interval": "2000",
    "timezone": "UTC",
    "default_transaction_isolation": "read committed",
    # A plan that was made while a table was empty is kept while it grows. What reads whole tables says so.
    "enable_seqscan": "off",
}
#: Only for `define_database_roles`, which gives them to the roles that log in with one.
DATABASE_RUNTIME_PASSWORD = env.verbatim("DATABASE_RUNTIME_PASSWORD")
DATABASE_READER_PASSWORD = env.verbatim("DATABASE_READER_PASSWORD")
DATABASES: dict[str, dict[str, Any]] = {"default": env.db_url("DATABASE_URL", engine="core.postgres")}
DATABASES["default"] |= {
    "ATOMIC_REQUESTS": False,
    "CONN_MAX_AGE": 0 if DATABASE_POOL_SIZE else None,
    "CONN_HEALTH_CHECKS": flag("DATABASE_HEALTH_CHECKS", default=True),
    "DISABLE_SERVER_SIDE_CURSORS": DATABASE_BEHIND_PGBOUNCER,
    "OPTIONS": {
        **DATABASES["default"].get("OPTIONS", {}),
        "application_name": env.str("APPLICATION_NAME", default="desk"),
        "connect_timeout": 3,
        "tcp_user_timeout": 10_000,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "prepare_threshold": None if DATABASE_BEHIND_PGBOUNCER else 5,
    },
}
if not DATABASE_BEHIND_PGBOUNCER:
    DATABASES["default"]["OPTIONS"]["options"] = " ".join(
        "-c " + f"{name}={value}".replace(" ", r"\ ") for name, value in SESSION_OPTIONS.items()
    )
if DATABASE_POOL_SIZE:
    DATABASES["default"]["OPTIONS"]["pool"] = {
        "min_size": DATABASE_POOL_SIZE,
        "max_size": DATABASE_POOL_SIZE,
        "timeout": 2,
        "max_waiting": 4 * DATABASE_POOL_SIZE,
        "reconnect_timeout": 5,
    }

# --- Requests -------------------------------------------------------------------------------------------------------

REQUEST_DEADLINE_SECONDS = env.int("REQUEST_DEADLINE_SECONDS", default=30)
REQUEST_BODY_BYTES_MAX = 64 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * REQUEST_BODY_BYTES_MAX  # the admin's forms; the API's own limit is above
#: Requests in flight per process before the next one is told to come back, and how long one may have queued in front.
REQUESTS_IN_FLIGHT_MAX = env.int("REQUESTS_IN_FLIGHT_MAX", default=64)
QUEUE_SECONDS_MAX = Decimal(env.str("QUEUE_SECONDS_MAX", default="5"))  # parts of a second count too
IDEMPOTENCY_TTL_SECONDS = env.int("IDEMPOTENCY_TTL_SECONDS", default=3600)

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.tokens.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["core.api.HasScope"],
    "DEFAULT_PARSER_CLASSES": ["core.api.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["core.api.ProblemAwareJSONRenderer"],
    "DEFAULT_THROTTLE_CLASSES": ["core.api.DeskThrottle"],
    "DEFAULT_SCHEMA_CLASS": "core.api.schema.DeskSchema",
    "DEFAULT_METADATA_CLASS": None,  # OPTIONS tells nobody about serializers
    "DEFAULT_PAGINATION_CLASS": "core.api.KeysetPagination",
    "DEFAULT_FILTER_BACKENDS": ["core.api.KnownFilters"],
    "EXCEPTION_HANDLER": "core.api.problem_response",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": True,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Dealing Desk",
    "DESCRIPTION": "The back end of a retail margin broker: accounts, wallets, orders, positions.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "APPEND_COMPONENTS": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    "GET_MOCK_REQUEST": "core.api.schema.mock_request",
    "POSTPROCESSING_HOOKS": [],  # choices stay where they are used, instead of under made-up names
}

#: Attempts per period, counted over all processes: `<count>/<s|m|h>`.
THROTTLES: dict[str, str] = {
    "login_account": env.str("THROTTLE_LOGIN_ACCOUNT", default="5/m"),  # per (account, address)
    "login_address": env.str("THROTTLE_LOGIN_ADDRESS", default="20/m"),
    "signup": env.str("THROTTLE_SIGNUP", default="20/m"),  # per address
    "password_reset": env.str("THROTTLE_PASSWORD_RESET", default="5/h"),  # per mailbox
    "token": env.str("THROTTLE_TOKEN", default="20/m"),  # per user
    "money": env.str("THROTTLE_MONEY", default="600/m"),  # per user
    "quotes": env.str("THROTTLE_QUOTES", default="6000/m"),  # per token
}

# --- People ---------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
# Emails are unique in lower case: the constraint `user_email` says more than the field option this check looks for.
SILENCED_SYSTEM_CHECKS = ["auth.E003"]
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = ["accounts.hashers.DeskArgon2", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("email", "name")},
    },
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
EMAIL_BACKEND = env.str("EMAIL_BACKEND", default="django.core.mail.backends.smtp.EmailBackend")
EMAIL_HOST = env.str("EMAIL_HOST", default="localhost")
EMAIL_PORT = env.int("EMAIL_PORT", default=25)
EMAIL_HOST_USER = env.str("EMAIL_HOST_USER", default="")
EMAIL_HOST_PASSWORD = env.verbatim("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = flag("EMAIL_USE_TLS", default=False)
EMAIL_TIMEOUT = 5
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="desk@localhost")
#: Where the links in emails point: the client app's own pages.
CLIENT_APP_URL = env.str("CLIENT_APP_URL", default="http://localhost:8000")
TOKEN_LIFETIME = timedelta(hours=env.int("TOKEN_LIFETIME_HOURS", default=24))
TOKEN_IDLE_LIFETIME = timedelta(hours=env.int("TOKEN_IDLE_LIFETIME_HOURS", default=12))
LOGIN_URL = "/admin/login/"
LOGIN_REDIRECT_URL = "/admin/"  # clients have no pages here; only staff log in to one
OTP_ADMIN_HIDE_SENSITIVE_DATA = True  # nobody reads somebody else's second factor
PASSWORD_RESET_TIMEOUT = 24 * 3600  # also how long a letter that asks to confirm an address is good for
PASSWORD_HASHES_AT_ONCE = env.int("PASSWORD_HASHES_AT_ONCE", default=4)

# --- Back office ----------------------------------------------------------------------------------------------------

#: How long a member of staff may look away before they have to log in again; SESSION_COOKIE_AGE is how long at most.
STAFF_IDLE_MINUTES = env.int("STAFF_IDLE_MINUTES", default=15)
OTP_TOTP_ISSUER = "Dealing Desk"  # what the authenticator calls it
UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Dealing Desk",
    "SITE_HEADER": "Dealing Desk",
    "SITE_SUBHEADER": "Back office",
    "SITE_ICON": lambda _request: static("back_office/icon.svg"),
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("back_office/icon.svg")}
    ],
    "STYLES": [lambda _request: static("back_office/desk.css")],
    "DASHBOARD_CALLBACK": "config.back_office.dashboards.overview.add_board",
    "SITE_URL": "/admin/",
    "BORDER_RADIUS": "6px",
    "COLORS": {
        # A calm blue: white on 600 and 600 on white, 400 on the darkest grey, all read at 4.5:1 or better.
        "primary": {
            "50": "#f0f7fc",
            "100": "#dcecf7",
            "200": "#bfdcf0",
            "300": "#93c5e6",
            "400": "#60a8d6",
            "500": "#3b8bbf",
            "600": "#1f6a9c",
            "700": "#1a567f",
            "800": "#184968",
            "900": "#183e57",
            "950": "#10293b",
        },
    },
    "SHOW_HISTORY": False,  # Django's own log of changes is empty: nothing is changed by form
    "SHOW_VIEW_ON_SITE": False,
    "SIDEBAR": {"show_search": True, "navigation": "config.back_office.navigation.side_bar"},
}
#: A withdrawal is flagged to a bank account that had been on file for fewer days than this when it was asked for.
BANK_ACCOUNT_NEW_DAYS = env.int("BANK_ACCOUNT_NEW_DAYS", default=7)
#: ... and where it takes out this much, in per cent, of what its client has deposited in the currency, or more.
WITHDRAWAL_LARGE_PERCENT = env.int("WITHDRAWAL_LARGE_PERCENT", default=80)

#: A TrueType font for statements in scripts that the one we bring lacks (it has western Europe's), such as Noto Sans.
STATEMENT_FONT = env.str("STATEMENT_FONT", default="")
#: A withdrawal that was sent longer ago, and that nobody has confirmed, is a break.
WITHDRAWAL_CONFIRMED_WITHIN_DAYS = env.int("WITHDRAWAL_CONFIRMED_WITHIN_DAYS", default=3)

# --- Money ----------------------------------------------------------------------------------------------------------

DEMO_FUNDING = Decimal(env.str("DEMO_FUNDING", default="10000.00"))
PAYMENT_PROVIDER = env.str("PAYMENT_PROVIDER", default="manual")
PAYMENT_WEBHOOK_TOLERANCE_SECONDS = 300
#: Per operation, in the wallet's currency.
DEPOSIT_MIN = Decimal(env.str("DEPOSIT_MIN", default="1"))
DEPOSIT_MAX = Decimal(env.str("DEPOSIT_MAX", default="1000000"))
#: What may be deposited in total before verification is approved.
UNVERIFIED_DEPOSIT_MAX = Decimal(env.str("UNVERIFIED_DEPOSIT_MAX", default="2000"))
WITHDRAWAL_MIN = Decimal(env.str("WITHDRAWAL_MIN", default="1"))
#: What one adjustment by staff may move: a slip of the finger ends here.
ADJUSTMENT_MAX = Decimal(env.str("ADJUSTMENT_MAX", default="1000000"))
#: From this amount on, a withdrawal needs two different people.
WITHDRAWAL_TWO_PERSON_FROM = Decimal(env.str("WITHDRAWAL_TWO_PERSON_FROM", default="10000"))

# --- Trading --------------------------------------------------------------------------------------------------------

LEVERAGE_MAX = env.int("LEVERAGE_MAX", default=500)
LEVERAGE_DEFAULT = env.int("LEVERAGE_DEFAULT", default=30)
#: Whose leverage caps hold for clients of countries that accounts/data/jurisdictions.csv does not list: a jurisdiction
#: of that file, or DESK for the desk's own limits alone. Checked at start; accounts keep what they were opened under.
JURISDICTION_DEFAULT = env.str("JURISDICTION_DEFAULT", default="DESK")
POSITIONS_MAX = env.int("POSITIONS_MAX", default=200)
WORKING_ORDERS_MAX = env.int("WORKING_ORDERS_MAX", default=200)
#: What all open positions of an account may be worth together, in the account's currency.
EXPOSURE_MAX = Decimal(env.str("EXPOSURE_MAX", default="100000000"))
#: Whose hours `load_instruments` gives the instruments: `always` open, as a replay has its own clock, or `market`.
INSTRUMENT_SESSIONS = env.str("INSTRUMENT_SESSIONS", default="always")

# --- Referrals ------------------------------------------------------------------------------------------------------

#: How long a commission waits before it may be paid, so that what should not be can be stopped.
REFERRAL_HOLD_DAYS = env.int("REFERRAL_HOLD_DAYS", default=1)

# --- Watching it ----------------------------------------------------------------------------------------------------

#: Lets a scraper on another host read /metrics (`Authorization: Bearer …`); without one only this host may.
METRICS_TOKEN = env.verbatim("METRICS_TOKEN")

# --- Logs -----------------------------------------------------------------------------------------------------------

LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOGGING_CONFIG = "core.logging.configure"
LOGGING: dict[str, Any] = {"level": LOG_LEVEL}
