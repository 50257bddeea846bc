"""Every environment variable that the system reads, in one table.

`.env.example` is generated from it (`example()`), the settings read through `read()`, and nothing
else looks at `os.environ`. Each secret may also be given as `NAME_FILE`, the path of
a file that holds it (Docker and Kubernetes secrets).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import environ

BASE_DIR = Path(__file__).resolve().parents[1]
DEVELOPMENT_SECRET = "development-only-secret-key-never-use-it-in-production"  # noqa: S105
DEVELOPMENT_ENCRYPTION_KEY = "development-only-encryption-key-never-use-it-in-production"
ENVIRONMENTS = ("development", "test", "production")


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable: its default, what it is for, and whether it is a secret."""

    name: str
    default: str
    purpose: str
    secret: bool = False


VARIABLES: tuple[Variable, ...] = (
    Variable("ENVIRONMENT", "development", "development, test or production"),
    Variable(
        "SECRET_KEY", DEVELOPMENT_SECRET, "signs sessions and links; 50+ random characters", True
    ),
    Variable(
        "ENCRYPTION_KEYS",
        DEVELOPMENT_ENCRYPTION_KEY,
        "seal secrets in the database; comma-separated, newest first; 32+ random characters each",
        True,
    ),
    Variable("BRAND_NAME", "Countinghouse", "the name that pages, mails and documents show"),
    Variable("DATA_DIR", ".data", "where the embedded database, logs and schedules live"),
    Variable("HOST", "127.0.0.1", "the address that `up` serves on"),
    Variable("PORT", "8000", "the port that `up` serves on"),
    Variable("LIVE_PORT", "", "the port of live updates; default PORT + 1; 0 = no live updates"),
    Variable(
        "LIVE_URL",
        "",
        "where browsers reach live updates; default: API_BASE_URL in production, else LIVE_PORT",
    ),
    Variable("LIVE_MAX_LISTENERS", "1000", "connections that a live process takes"),
    Variable("LIVE_MAX_PER_ORGANIZATION", "100", "of these, for one organization"),
    Variable("API_BASE_URL", "", "public address of this system; default http://localhost:PORT"),
    Variable("ALLOWED_HOSTS", "", "comma-separated host names; required in production"),
    Variable(
        "JWT_SECRET", "", "signs the API's access tokens; empty = derived from SECRET_KEY", True
    ),
    Variable(
        "ENABLE_REGISTRATION",
        "",
        "true: anybody registers an organization; default: not in production",
    ),
    Variable(
        "TRUSTED_PROXIES", "0", "proxies in front that add to X-Forwarded-For; 0 = it is not read"
    ),
    Variable(
        "CLERK_PUBLISHABLE_KEY", "", "pk_live_…: takes the session tokens of this Clerk instance"
    ),
    Variable(
        "CLERK_JWT_KEY", "", "its public key (PEM); empty = fetched from Clerk and kept", True
    ),
    Variable(
        "CLERK_AUTHORIZED_PARTIES",
        "",
        "comma-separated origins whose tokens count (azp), https://app.example.com; empty = any",
    ),
    Variable("CLERK_AUDIENCE", "", "comma-separated `aud` of a JWT template; empty = none"),
    Variable("OIDC_ISSUER", "", "takes the access tokens of this issuer: their `iss`, exactly"),
    Variable("OIDC_JWKS_URL", "", "where its public keys are"),
    Variable("OIDC_AUDIENCE", "", "comma-separated `aud`: what the issuer calls this system"),
    Variable("OIDC_AUTHORIZED_PARTIES", "", "comma-separated `azp`: which of its clients count"),
    Variable("LOGIN_GOOGLE_CLIENT_ID", "", "people may sign in with Google; see docs/identity.md"),
    Variable("LOGIN_GOOGLE_CLIENT_SECRET", "", "its secret", True),
    Variable("LOGIN_GITHUB_CLIENT_ID", "", "people may sign in with GitHub"),
    Variable("LOGIN_GITHUB_CLIENT_SECRET", "", "its secret", True),
    Variable("LOGIN_OIDC_ISSUER", "", "people may sign in with this issuer of OpenID Connect"),
    Variable("LOGIN_OIDC_CLIENT_ID", "", "what it calls this system"),
    Variable("LOGIN_OIDC_CLIENT_SECRET", "", "its secret", True),
    Variable("LOGIN_OIDC_NAME", "Single sign-on", "what its button says"),
    Variable(
        "STAFF_SECOND_FACTOR",
        "",
        "true: the admin opens to staff with a second factor only; default: true in production",
    ),
    Variable("DATABASE_URL", "", "PostgreSQL 16+ as the run-time login; empty = embedded", True),
    Variable("DATABASE_OWNER_URL", "", "the same database as its owner, for migrations", True),
    Variable(
        "DB_MAX_CONNECTIONS", "0", "pool size per process; 0 = one lasting connection per thread"
    ),
    Variable("DB_CONNECTION_TIMEOUT", "10000", "milliseconds to wait for a database connection"),
    Variable(
        "DB_STATEMENT_TIMEOUT", "0", "milliseconds a statement may run; `up` gives the web 15000"
    ),
    Variable("DB_PREPARE", "true", "false behind a pooler that cannot keep prepared statements"),
    Variable(
        "REDIS_URL",
        "",
        "Redis for the task queue and the cache; empty = PostgreSQL and memory",
        True,
    ),
    Variable("BROKER_URL", "", "Celery's broker when it is not REDIS_URL", True),
    Variable("CACHE_URL", "", "cache when it is not REDIS_URL", True),
    Variable(
        "EMAIL_URL", "consolemail://", "smtp+tls://user:password@host:587 sends real mail", True
    ),
    Variable("MAIL_FROM", "Countinghouse <billing@localhost>", "sender of the mails"),
    Variable("LOG_LEVEL", "info", "debug, info, warning or error"),
    Variable("WEB_WORKERS", "1", "web server processes that `up` starts"),
    Variable("WEB_THREADS", "16", "requests that one of them serves at a time; a connection each"),
    Variable("SECURE_SSL", "", "true behind TLS; default: true in production"),
    Variable(
        "ENABLE_AUDIT_LOG", "true", "false hides the audit pages; records are kept all the same"
    ),
    Variable(
        "VIES_URL",
        "",
        "the EU's register of VAT ids; empty = off;"
        " https://ec.europa.eu/taxation_customs/vies/rest-api is the real one",
    ),
    Variable(
        "STRIPE_SECRET_KEY",
        "",
        "collects payments by Stripe; empty = payments are recorded by hand",
        True,
    ),
    Variable(
        "STRIPE_WEBHOOK_SECRET",
        "",
        "whsec_…: signs what Stripe tells this system; docs/stripe.md",
        True,
    ),
    Variable(
        "STRIPE_WEBHOOK_SECRET_PREVIOUS", "", "the one before, while the secret is changed", True
    ),
    Variable("STRIPE_API_BASE", "", "where Stripe is; empty = https://api.stripe.com"),
    Variable(
        "SANDBOX_PORT",
        "",
        "the port of the stand-in for Stripe that `up` starts when there is no key;"
        " default PORT + 2; 0 = none",
    ),
    Variable("STRIPE_REQUESTS_PER_SECOND", "20", "what Stripe is asked at most; 0 = no limit"),
    Variable("USAGE_MAX_AGE_DAYS", "35", "the API refuses events older than this; commands do not"),
    Variable(
        "USAGE_RETENTION_DAYS",
        "0",
        "raw events older than this go once billed and sealed; 0 = never; see docs/operations.md",
    ),
    Variable("USAGE_MAX_BATCH", "1000", "events accepted in one API request"),
    Variable("USAGE_MAX_BYTES", "1048576", "largest body of an API request, in bytes"),
    Variable(
        "LICENSE_PRIVATE_KEY",
        "",
        "PEM of the key that signs licences, for `generate_keys`; empty = it makes one",
        True,
    ),
    Variable("LICENSE_PUBLIC_KEY", "", "its public half; `generate_keys` checks that they match"),
    Variable("LICENSE_LIFETIME_DAYS", "7", "how long a licence lasts unless agreed otherwise"),
    Variable("LICENSE_GRACE_DAYS", "3", "how long it is good beyond that, unless agreed otherwise"),
    Variable(
        "CLICKHOUSE_URL",
        "",
        "ClickHouse for raw events, https://user:password@host:8443/database; empty = PostgreSQL",
        True,
    ),
    Variable(
        "USAGE_THIN_DAYS",
        "0",
        "raw events leave PostgreSQL so many days after they came, once ClickHouse has them;"
        " 0 = never; see docs/scaling.md",
    ),
)
KNOWN = {variable.name: variable for variable in VARIABLES}


def load_dotenv() -> None:
    """Read `.env` beside manage.py, if there is one; real environment variables win."""
    path = BASE_DIR / ".env"
    if path.is_file():
        environ.Env.read_env(str(path))


def read(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the variable's value: itself, the content of `NAME_FILE`, or the default."""
    variable = KNOWN[name]
    if value := environment.get(name, ""):
        return value
    if variable.secret and (file := environment.get(f"{name}_FILE", "")):
        return Path(file).read_text(encoding="utf-8").strip()
    return variable.default


def read_bool(name: str, *, default: bool = False) -> bool:
    """Return the variable as a truth value; an empty one is `default`."""
    value = read(name).strip().lower()
    if not value:
        return default
    if value not in {"1", "true", "yes", "on", "0", "false", "no", "off"}:
        raise ValueError(f"{name} must be true or false, not {value!r}.")
    return value in {"1", "true", "yes", "on"}


def read_int(name: str) -> int:
    """Return the variable as a whole number."""
    value = read(name)
    if not value.lstrip("-").isdigit():
        raise ValueError(f"{name} must be a whole number, not {value!r}.")
    return int(value)


def read_list(name: str) -> list[str]:
    """Return the comma-separated variable as a list without blanks."""
    return [part.strip() for part in read(name).split(",") if part.strip()]


def data_dir() -> Path:
    """Return DATA_DIR as an absolute path; relative ones start beside manage.py."""
    return (BASE_DIR / read("DATA_DIR")).resolve()


def example() -> str:
    """Return the text of `.env.example`: every variable, commented, with its default."""
    lines = [
        "# Every setting, with its default. An empty environment is a working development system.",
        "",
    ]
    for variable in VARIABLES:
        lines += [f"# {variable.purpose}", f"# {variable.name}={variable.default}", ""]
        if variable.secret:
            lines.insert(-1, f"# {variable.name}_FILE=")
    return "\n".join(lines).rstrip() + "\n"
