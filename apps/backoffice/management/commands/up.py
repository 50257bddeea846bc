"""Start the whole system in one terminal; Ctrl-C stops it."""

from __future__ import annotations

import fcntl
import io
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from apps.backoffice import demo
from apps.backoffice.supervisor import Program, ProgramFailed, Supervisor

WEB_TRIES = 3
CELERY = (sys.executable, "-m", "celery", "--quiet", "-A", "billing_project")


class Command(BaseCommand):
    """Migrate, load the demo world, and run all programs until stopped."""

    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        """Add where to serve; the environment says so otherwise."""
        parser.add_argument("--host", default=settings.HOST, help="default: HOST or 127.0.0.1")
        parser.add_argument("--port", type=int, default=settings.PORT, help="default: PORT or 8000")
        parser.add_argument("--live-port", type=int, help="default: LIVE_PORT or PORT + 1")
        parser.add_argument(
            "--sandbox-port", type=int, help="default: SANDBOX_PORT or PORT + 2; 0 = no stand-in"
        )
        parser.add_argument("--no-demo", action="store_true", help="load no demo world")

    def handle(self, **options: Any) -> None:
        """Start everything; return when told to stop. Exit code 1 when something cannot start."""
        host, port = options["host"], options["port"]
        live_port = options["live_port"]
        live_port = beside(port) if live_port is None else live_port
        sandbox_port = stand_in_port(port, options["sandbox_port"])
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            with _alone(settings.DATA_DIR, f"http://{_shown(host)}:{port}"):
                refuse_busy_port(host, port)
                if live_port:
                    refuse_busy_port(host, live_port, setting="LIVE_PORT")
                if sandbox_port:
                    refuse_busy_port("127.0.0.1", sandbox_port, setting="SANDBOX_PORT")
                demo_world = not (options["no_demo"] or settings.PRODUCTION)
                self._prepare(demo_world=demo_world)
                with _noted(sandbox_port):
                    self._serve(host, port, live_port, sandbox_port, demo_world=demo_world)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")

    def _prepare(self, *, demo_world: bool) -> None:
        self.stdout.write("Bringing the database up to date ...")
        call_command("migrate", interactive=False, verbosity=0)
        self.check(databases=["default"])
        if demo_world:
            self.stdout.write("Loading the demo world ...")
            call_command("demo_data", stdout=io.StringIO())  # the logins are shown at the end
        connections.close_all()
        settings.STATIC_ROOT.mkdir(exist_ok=True)  # the web server warns when it is missing

    def _serve(
        self, host: str, port: int, live_port: int, sandbox_port: int, *, demo_world: bool
    ) -> None:
        ports = {"PORT": port, "LIVE_PORT": live_port, "SANDBOX_PORT": sandbox_port}
        supervisor = Supervisor(
            [*programs(host, port, live_port), *stand_in(sandbox_port, demo_world=demo_world)],
            logs=settings.DATA_DIR / "logs",
            environment={**os.environ, **{name: str(each) for name, each in ports.items()}},
            terminal=sys.stdout,
        )
        try:
            with supervisor.listening_to_signals(), supervisor:
                if supervisor.watch(until=lambda: is_healthy(host, port)):
                    supervisor.say(welcome(host, port, sandbox_port))
                    supervisor.watch()
                supervisor.say("Stopping ...")
        except ProgramFailed as failure:
            raise CommandError(f"{failure}.") from failure
        self.stdout.write("Stopped.")


def web_server(host: str, port: int) -> tuple[str, ...]:
    """Return the command that serves; the application is its last word.

    No more requests at a time than threads: among more of them a busy thread starves the others.
    """
    threads = str(settings.WEB_THREADS)
    return (sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws", "--host", host,
            "--port", str(port), "--workers", str(settings.WEB_WORKERS),
            "--blocking-threads", threads, "--backpressure", threads,
            "--respawn-failed-workers", "--workers-kill-timeout", "2",
            "billing_project.wsgi:application")  # fmt: skip


def programs(host: str, port: int, live_port: int) -> list[Program]:
    """Return the programs: web server, live updates (where they have a port), worker, scheduler.

    The live process speaks ASGI without lifespan: granian waits for ever for Django's. The worker
    joins no gossip: every start would leave a queue behind in PostgreSQL.
    """
    live = (sys.executable, "-m", "granian", "--interface", "asginl", "--host", host,
            "--port", str(live_port), "--workers", "1",
            "--respawn-failed-workers", "--workers-kill-timeout", "2",
            "billing_project.asgi:application")  # fmt: skip
    # Celery tells every task at "info", several a second; what a task has to say comes from us.
    level = ("--loglevel", "DEBUG" if settings.LOG_LEVEL == "DEBUG" else "WARNING")
    worker = (*CELERY, "worker", "--concurrency", "2", "--without-gossip", "--without-mingle",
              "--without-heartbeat", *level)  # fmt: skip
    schedule = settings.DATA_DIR / "scheduler"
    scheduler = (*CELERY, "beat", "--schedule", str(schedule), "--pidfile", "", *level)
    return [
        Program("web", web_server(host, port), tries=WEB_TRIES),
        *([Program("live", live)] if live_port else []),
        Program("worker", worker),
        Program("scheduler", scheduler),
    ]


def stand_in(port: int, *, demo_world: bool = False) -> list[Program]:
    """Return the stand-in for Stripe, where it has a port. One process: it has one store.

    The demo world's cards are charged there, beside everything else: nobody waits for it.
    """
    command = (sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws",
               "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--blocking-threads", "8", "--backpressure", "64",
               "--respawn-failed-workers", "--workers-kill-timeout", "2",
               "apps.sandbox.wsgi:application")  # fmt: skip
    cards = (sys.executable, str(settings.BASE_DIR / "manage.py"), "demo_data", "--cards-only")
    charged = [Program("demo", cards, once=True)] if demo_world else []
    return [Program("sandbox", command), *charged] if port else []


def stand_in_port(port: int, asked: int | None) -> int:
    """Return where the stand-in for Stripe is served; 0 where Stripe itself is configured."""
    if not settings.SANDBOX_POSSIBLE:
        return 0
    named = os.environ.get("SANDBOX_PORT")
    return asked if asked is not None else int(named) if named else port + 2


@contextmanager
def _noted(sandbox_port: int) -> Iterator[None]:
    """Leave the stand-in's port where commands in other terminals look for it."""
    if not sandbox_port:
        yield
        return
    settings.SANDBOX_NOTED_AT.write_text(str(sandbox_port), encoding="ascii")
    try:
        yield
    finally:
        settings.SANDBOX_NOTED_AT.unlink(missing_ok=True)


def beside(port: int) -> int:
    """Return where live updates are served: the setting's port, or the next to the web server's."""
    asked = int(settings.LIVE_PORT)
    return asked if port == settings.PORT or not asked else port + 1


def refuse_busy_port(host: str, port: int, *, setting: str = "PORT") -> None:
    """Raise CommandError when somebody else listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(
                f"Port {port} on {host} cannot be used ({error.strerror}). "
                f"Choose another one: {setting}={port + 1} make run"
            ) from error


def is_healthy(host: str, port: int) -> bool:
    """Tell whether the web server answers."""
    url = f"http://{_shown(host)}:{port}/health"
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def welcome(host: str, port: int, sandbox_port: int = 0) -> str:
    """Return the block that says where everything is and who may sign in."""
    base = f"http://{_shown(host)}:{port}"
    places = {
        "Portal": "/portal/",
        "Admin": "/admin/",
        "API docs": "/api/docs",
        "Health": "/health",
    }
    lines = [f"  {name:<10} {base}{path}" for name, path in places.items()]
    if sandbox_port:
        lines += [f"  {'Stripe':<10} http://127.0.0.1:{sandbox_port}/_stripe/ (simulated)"]
    if not settings.PRODUCTION:
        lines += ["", f"  Sign in with the password {demo.PASSWORD} as"]
        lines += [_login(login) for login in demo.LOGINS]
    lines += ["", f"  Ctrl-C stops it. Data and logs: {settings.DATA_DIR}"]
    return "\n".join(["", f"{settings.BRAND_NAME} is running.", "", *lines, ""])


def _login(login: demo.Login) -> str:
    whose = f"{login.role.lower().replace('_', ' ')} of {login.organization}"
    return f"    {login.email:<30} {login.door:<9} {whose if login.role else login.group}"


def _shown(host: str) -> str:
    """Return the name under which this machine reaches an address that it listens on."""
    if host in {"0.0.0.0", "::", "127.0.0.1"}:  # noqa: S104 - compared, not bound
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _interrupt(*_: object) -> NoReturn:
    """Treat SIGTERM like Ctrl-C until the supervisor listens itself."""
    raise KeyboardInterrupt


@contextmanager
def _alone(data_dir: Path, address: str) -> Iterator[None]:
    """Hold the data directory; raise CommandError when another `up` does."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "up.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise CommandError(
                f"{data_dir} is already served: {lock.read().strip()}. "
                "Use that one, or name another directory: DATA_DIR=.data2 PORT=8001 make run"
            ) from None
        lock.truncate(0)
        lock.write(f"{address} (process {os.getpid()})")
        lock.flush()
        yield
