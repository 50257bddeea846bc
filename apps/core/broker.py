"""PostgreSQL as Celery's broker: the URL and the options that kombu's `pgmq` transport needs.

For laptops and small installations; anything larger sets REDIS_URL. The schema `pgmq` is installed
by `apps.core.roles`, so the transport must not try to create its extension.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from psycopg import conninfo

SCHEME = "pgmq"
# A task that is not acknowledged after this long is handed to another worker.
VISIBILITY_SECONDS = 300


def broker_url(database_url: str) -> str:
    """Return the `pgmq://` URL of the same database; a socket directory travels as the host."""
    parts = conninfo.conninfo_to_dict(database_url)
    user, password = parts.get("user", ""), parts.get("password", "")
    credentials = quote(str(user), safe="")
    if password:
        credentials += f":{quote(str(password), safe='')}"
    host = quote(str(parts.get("host", "localhost")), safe="")
    return f"{SCHEME}://{credentials}@{host}:{parts.get('port', 5432)}/{parts['dbname']}"


def transport_options(url: str) -> dict[str, Any]:
    """Return Celery's `broker_transport_options` for a `pgmq://` or `postgresql://` URL.

    A `pgmq://` URL has no room for parameters such as sslmode: give the database's URL where it is
    known. Without `conn_string` the client would read DATABASE_URL and ignore the broker's URL. No
    server-side polling (`wait_time_seconds`): NOTIFY wakes the worker, and one look a second finds
    messages that became visible again.
    """
    return {
        "conn_string": _connection_string(url),
        "init_extension": False,
        "use_notify": True,
        "notify_throttle_interval_ms": 0,
        "wait_time_seconds": 0,
        "polling_interval": 1.0,
        "visibility_timeout": VISIBILITY_SECONDS,
        "pool_size": 2,
    }


def _connection_string(url: str) -> str:
    """Return the libpq string, quoted once more: the client joins the parts without quotes.

    It keeps five parts only, so others (sslmode, ...) ride behind the password, which comes last.
    """
    parts = conninfo.conninfo_to_dict(re.sub(rf"^{SCHEME}", "postgresql", url))
    kept = {name: _quoted(parts.pop(name, "")) for name in ("host", "port", "dbname", "user")}
    password = _quoted(parts.pop("password", "") or "none")
    kept["password"] = " ".join([password, *(f"{name}={_quoted(v)}" for name, v in parts.items())])
    return conninfo.make_conninfo("", **kept)


def _quoted(value: Any) -> str:
    text = str(value)
    if re.fullmatch(r"[\w./:@%+,-]+", text):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
