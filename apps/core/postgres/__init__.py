"""Django's PostgreSQL backend plus one thing: every BEGIN carries the current scope."""
