"""One settings file: every difference between systems is an environment variable."""

from __future__ import annotations

import os
import sys
from typing import Any

import environ
from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE

from apps.backoffice.unfold import UNFOLD as UNFOLD
from apps.core import broker
from billing_project import environment, issuers, providers, stand_in
from billing_project.environment import BASE_DIR, read, read_bool, read_int, read_list

environment.load_dotenv()

ENVIRONMENT = read("ENVIRONMENT")
PRODUCTION = ENVIRONMENT == "production"
DEBUG = False  # error pages never show code; `up` shows the log instead
SECRET_KEY = read("SECRET_KEY")
ENCRYPTION_KEYS = read_list("ENCRYPTION_KEYS")
BRAND_NAME = read("BRAND_NAME")
DATA_DIR = environment.data_dir()
HOST = read("HOST")
PORT = read_int("PORT")
WEB_WORKERS = read_int("WEB_WORKERS")
WEB_THREADS = read_int("WEB_THREADS")
API_BASE_URL = (read("API_BASE_URL") or f"http://localhost:{PORT}").rstrip("/")
LIVE_PORT = int(read("LIVE_PORT") or PORT + 1)
# Without a proxy the live process has a port of its own, on whatever name the browser came to.
LIVE_URL = (read("LIVE_URL") or (API_BASE_URL if PRODUCTION and LIVE_PORT else "")).rstrip("/")
LIVE_MAX_LISTENERS = read_int("LIVE_MAX_LISTENERS")
LIVE_MAX_PER_ORGANIZATION = read_int("LIVE_MAX_PER_ORGANIZATION")
ALLOWED_HOSTS = read_list("ALLOWED_HOSTS") or ([] if PRODUCTION else ["*"])
CSRF_TRUSTED_ORIGINS = [API_BASE_URL]

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "csp",
    "django_structlog",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "djstripe",
    "apps.core",
    "apps.audit",
    "apps.tenants",
    "apps.usage",
    "apps.plans",
    "apps.subscriptions",
    "apps.invoicing",
    "apps.entitlements",
    "apps.licensing",
    "apps.payments",
    "apps.seats",
    "apps.watch",
    "apps.dunning",
    "apps.notifications",
    "apps.api",
    "apps.portal",
    "apps.backoffice",
    "apps.sandbox",
    # Last, so that our words are the ones that are found.
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.github",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
]

MIDDLEWARE = [
    "apps.core.middleware.RequestId",
    "apps.core.middleware.NoNulBytes",
    "django.middleware.security.SecurityMiddleware",
    "apps.api.lean.HotPaths",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "apps.portal.access.PortalScope",
    "apps.backoffice.access.AdminScope",
]

ROOT_URLCONF = "billing_project.urls"
WSGI_APPLICATION = "billing_project.wsgi.application"
ASGI_APPLICATION = "billing_project.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "apps.portal.context.portal",
            ],
        },
    }
]

# --- Database -----------------------------------------------------------------------------------
# Two logins to one database: `default` is the run-time login, which row-level security binds and
# which owns nothing; `owner` runs migrations and is never used to serve a request.


def database(url: str, **extra: Any) -> dict[str, Any]:
    """Return Django's settings for one login; `url` is postgresql://user:password@host/name."""
    found: dict[str, Any] = environ.Env.db_url_config(url)
    options = {
        **found.get("OPTIONS", {}),
        "prepare_threshold": 5 if read_bool("DB_PREPARE", default=True) else None,
        "connect_timeout": max(1, read_int("DB_CONNECTION_TIMEOUT") // 1000),
        "options": f"-c lock_timeout=10s -c statement_timeout={read_int('DB_STATEMENT_TIMEOUT')}",
    }
    return {**found, "OPTIONS": options, **extra}


_app_url = read("DATABASE_URL") or "postgresql://billing_app@localhost/countinghouse"
_owner_url = read("DATABASE_OWNER_URL") or _app_url
DATABASE_IS_EMBEDDED = os.environ.get("DATABASE_EMBEDDED") == "1"
DATABASES = {
    "default": database(
        _app_url, ENGINE="apps.core.postgres", CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=True
    ),
    "owner": database(
        _owner_url, ENGINE="django.db.backends.postgresql", TEST={"MIRROR": "default"}
    ),
}
if _pool := read_int("DB_MAX_CONNECTIONS"):
    DATABASES["default"]["CONN_MAX_AGE"] = 0
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = False
    DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 1, "max_size": _pool}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# dj-stripe's own migrations take the better part of a minute; this squashed copy takes a second.
MIGRATION_MODULES = {"djstripe": "apps.payments.djstripe_migrations"}

# --- Who ----------------------------------------------------------------------------------------
AUTH_USER_MODEL = "tenants.User"
LOGIN_URL = "/portal/login/"
LOGIN_REDIRECT_URL = "/portal/"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
AUTH_PASSWORD_VALIDATORS[1]["OPTIONS"] = {"min_length": 10}  # type: ignore[assignment]
JWT_SECRET = read("JWT_SECRET")
ENABLE_REGISTRATION = read_bool("ENABLE_REGISTRATION", default=not PRODUCTION)
TRUSTED_PROXIES = read_int("TRUSTED_PROXIES")
TOKEN_ISSUERS = issuers.token_issuers()
# allauth: second factors, other providers and browser sessions (docs/adr/0012). Its own pages and
# its own table of addresses are not used.
MFA_ADAPTER = "apps.tenants.adapters.SecondFactorAdapter"
SOCIALACCOUNT_ADAPTER = "apps.tenants.adapters.LoginAdapter"
LOGIN_PROVIDERS = providers.login_providers()
SOCIALACCOUNT_QUERY_EMAIL = True  # GitHub tells addresses when it is asked for them
STAFF_SECOND_FACTOR = read_bool("STAFF_SECOND_FACTOR", default=PRODUCTION)

# --- Language, time, files ----------------------------------------------------------------------
LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = not PRODUCTION  # development needs no collectstatic
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

# --- Safety -------------------------------------------------------------------------------------
_ssl = read_bool("SECURE_SSL", default=PRODUCTION)
SECURE_SSL_REDIRECT = _ssl
SESSION_COOKIE_SECURE = _ssl
CSRF_COOKIE_SECURE = _ssl
SECURE_HSTS_SECONDS = 31_536_000 if _ssl else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = _ssl
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _ssl else None
SECURE_REFERRER_POLICY = "same-origin"
SECURE_REDIRECT_EXEMPT = [r"^health$", r"^ready$"]
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = read_int("USAGE_MAX_BYTES")
_live = [LIVE_URL or f"http://*:{LIVE_PORT}"] if LIVE_URL or LIVE_PORT else []
_strict = {
    "default-src": [SELF],
    "connect-src": [SELF, *_live, *(url.replace("http", "ws", 1) for url in _live)],
    "img-src": [SELF, "data:"],
    "object-src": [NONE],
    "base-uri": [SELF],
    "frame-ancestors": [NONE],
    "form-action": [SELF],
}
CONTENT_SECURITY_POLICY = {"DIRECTIVES": _strict}
# Unfold's Alpine needs eval and inline styles; apps/backoffice/access.py gives the admin those.
ADMIN_CONTENT_SECURITY_POLICY = {
    "script-src": [SELF, UNSAFE_EVAL, UNSAFE_INLINE],
    "style-src": [SELF, UNSAFE_INLINE],
}

# --- Work in the background ---------------------------------------------------------------------
REDIS_URL = read("REDIS_URL")
CELERY_BROKER_URL = read("BROKER_URL") or REDIS_URL or broker.broker_url(_app_url)
CELERY_BROKER_TRANSPORT_OPTIONS = (
    broker.transport_options(read("BROKER_URL") or _app_url)
    if CELERY_BROKER_URL.startswith(f"{broker.SCHEME}:")
    else {"visibility_timeout": broker.VISIBILITY_SECONDS}
)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# `celery inspect` makes queues named by host and question, which do not fit PostgreSQL's names.
CELERY_WORKER_ENABLE_REMOTE_CONTROL = not CELERY_BROKER_URL.startswith(f"{broker.SCHEME}:")
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_TIME_LIMIT = 300
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    "roll up usage": {"task": "usage.roll_up", "schedule": 5.0, "options": {"expires": 5}},
    "deliver facts": {"task": "core.deliver", "schedule": 5.0, "options": {"expires": 5}},
    "deliver provider calls": {
        "task": "payments.deliver_calls",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "handle provider events": {
        "task": "payments.handle_events",
        "schedule": 2.0,
        "options": {"expires": 2},
    },
    "read lost provider events": {"task": "payments.backfill_events", "schedule": 3600.0},
    "forget old provider events": {"task": "payments.forget_events", "schedule": 86_400.0},
    "tell of expiring cards": {"task": "payments.tell_expiring", "schedule": 86_400.0},
    "bill what is due": {
        "task": "invoicing.bill_due",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "bill usage past a threshold": {
        "task": "invoicing.bill_thresholds",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "heal usage": {
        "task": "invoicing.heal_usage",
        "schedule": 600.0,
        "options": {"expires": 600},
    },
    "expire reservations": {
        "task": "entitlements.expire_reservations",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "expire credit": {
        "task": "invoicing.expire_credit",
        "schedule": 300.0,
        "options": {"expires": 300},
    },
    "verify tax ids": {
        "task": "tenants.verify_tax_ids",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "forget old device reports": {"task": "usage.cleanup_reports", "schedule": 86_400.0},
    "evaluate alerts": {
        "task": "watch.evaluate_alerts",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    # An hour is judged minutes after its end; a run without a new one asks three questions.
    "detect anomalies": {
        "task": "watch.detect_anomalies",
        "schedule": 300.0,
        "options": {"expires": 300},
    },
    "run dunning": {"task": "dunning.run", "schedule": 60.0, "options": {"expires": 60}},
    "prune usage": {"task": "invoicing.prune_usage", "schedule": 86_400.0},
    "forget old keys": {"task": "core.forget_old_keys", "schedule": 86_400.0},
}

_cache_url = read("CACHE_URL") or REDIS_URL
CACHES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": _cache_url}
    if _cache_url
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}

# --- Mail ---------------------------------------------------------------------------------------
_mail: dict[str, Any] = environ.Env.email_url_config(read("EMAIL_URL"))
if _mail["EMAIL_BACKEND"] == "django.core.mail.backends.console.EmailBackend":
    _mail["EMAIL_BACKEND"] = "apps.notifications.console.EmailBackend"
vars().update(_mail)
DEFAULT_FROM_EMAIL = read("MAIL_FROM")
SERVER_EMAIL = DEFAULT_FROM_EMAIL

# --- The doors ----------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["apps.api.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "apps.api.errors.problem_details",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Countinghouse API",
    "DESCRIPTION": "Organizations, plans, subscriptions, usage and invoices.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": r"/api/v[0-9]+",
}
VIES_URL = read("VIES_URL")
USAGE_MAX_AGE_DAYS = read_int("USAGE_MAX_AGE_DAYS")
USAGE_RETENTION_DAYS = read_int("USAGE_RETENTION_DAYS")
USAGE_MAX_BATCH = read_int("USAGE_MAX_BATCH")
LICENSE_PRIVATE_KEY = read("LICENSE_PRIVATE_KEY").replace("\\n", "\n")  # one line in a .env
LICENSE_PUBLIC_KEY = read("LICENSE_PUBLIC_KEY").replace("\\n", "\n")
LICENSE_LIFETIME_DAYS = read_int("LICENSE_LIFETIME_DAYS")
LICENSE_GRACE_DAYS = read_int("LICENSE_GRACE_DAYS")
CLICKHOUSE_URL = read("CLICKHOUSE_URL")
if CLICKHOUSE_URL:
    CELERY_BEAT_SCHEDULE["ship events"] = {
        "task": "usage.ship_events",
        "schedule": 10.0,
        "options": {"expires": 10},
    }
USAGE_THIN_DAYS = read_int("USAGE_THIN_DAYS")
if CLICKHOUSE_URL and USAGE_THIN_DAYS:
    CELERY_BEAT_SCHEDULE["thin events"] = {
        "task": "usage.thin_events",
        "schedule": 600.0,
        "options": {"expires": 600},
    }
ENABLE_AUDIT_LOG = read_bool("ENABLE_AUDIT_LOG", default=True)

# --- Stripe -------------------------------------------------------------------------------------
SANDBOX_POSSIBLE = stand_in.possible()
SANDBOX_PORT = stand_in.port()
SANDBOX_NOTED_AT = stand_in.noted_at()
STRIPE_SECRET_KEY = read("STRIPE_SECRET_KEY") or (stand_in.KEY if SANDBOX_PORT else "")
STRIPE_WEBHOOK_SECRET = read("STRIPE_WEBHOOK_SECRET") or (
    stand_in.WEBHOOK_SECRET if SANDBOX_PORT else ""
)
STRIPE_WEBHOOK_SECRET_PREVIOUS = read("STRIPE_WEBHOOK_SECRET_PREVIOUS")
STRIPE_API_BASE = read("STRIPE_API_BASE").rstrip("/") or (
    stand_in.address(SANDBOX_PORT) if SANDBOX_PORT else ""
)
# A form of the portal may end on a page of Stripe's: browsers judge the redirects after it, too.
_strict["form-action"] += stand_in.hosted_pages(STRIPE_SECRET_KEY, STRIPE_API_BASE)
STRIPE_API_VERSION = "2026-08-26.dahlia"
STRIPE_REQUESTS_PER_SECOND = read_int("STRIPE_REQUESTS_PER_SECOND")
STRIPE_LIVE_MODE = STRIPE_SECRET_KEY.startswith(("sk_live_", "rk_live_"))
DJSTRIPE_SUBSCRIBER_MODEL = "tenants.Organization"
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"

# --- Logs ---------------------------------------------------------------------------------------
LOG_LEVEL = read("LOG_LEVEL").upper()
LOGGING_CONFIG = "apps.core.logging.configure"
LOGGING = {"level": LOG_LEVEL, "json": PRODUCTION, "quiet": "pytest" in sys.modules}
DJANGO_STRUCTLOG_CELERY_ENABLED = True
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False
# The id that apps.core.middleware.RequestId has checked or made, not a second one.
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True
DJANGO_STRUCTLOG_USER_ID_FIELD = "public_id"
