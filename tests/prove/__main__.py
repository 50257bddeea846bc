"""`python -m tests.prove [NAME] [--profile push|long] [--seed N]`: run the harnesses.

Each runs in processes of its own, on a server of its own under `.data/prove` (which it crashes),
and ends with one JSON line on stdout. Seeds that failed once (`seeds.json`) run first. Exit 1 on
any fault or uncaught mutant.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SEEDS = Path(__file__).with_name("seeds.json")
DATA_DIR = ROOT / ".data" / "prove"
NAMES = (
    "oracle",
    "races",
    "caps",
    "seats",
    "billing",
    "ingest",
    "isolation",
    "tokens",
    "webhooks",
    "matrix",
)


def main() -> int:
    """Run what is asked for; return the exit status."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    DATA_DIR.mkdir(parents=True, exist_ok=True)
    with (DATA_DIR / "run.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two runs would crash each other's server
        failed = [
            name
            for name in ([options.name] if options.name else NAMES)
            for seed in _seeds(name, options.seed)
            if _run(name, options.profile, seed)
        ]
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    parser.add_argument("name", nargs="?", choices=NAMES, help="default: all of them")
    parser.add_argument("--profile", choices=("push", "long"), default="push")
    parser.add_argument("--seed", type=int, help="repeat a run; default: a new one")
    return parser.parse_args()


def _seeds(name: str, wanted: int | None) -> Iterator[int]:
    """Yield the seed asked for, or those that failed once and then a new one."""
    if wanted is not None:
        yield wanted
        return
    yield from json.loads(SEEDS.read_text())[name]
    yield secrets.randbelow(2**31)


def _run(name: str, profile: str, seed: int) -> int:
    print(f"{name}: seed {seed}", file=sys.stderr, flush=True)
    environment = {
        **os.environ,
        "TEST_DATA_DIR": str(DATA_DIR),
        "DJANGO_SETTINGS_MODULE": "billing_project.settings",
        "LOG_LEVEL": "error",
    }
    for inherited in ("TEST_SERVER", "TEST_TEMPLATE", "DATABASE_URL", "FAULT_POINT"):
        environment.pop(inherited, None)
    command = [sys.executable, "-m", "tests.prove.run", name, profile, str(seed)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        return process.wait()
    finally:
        # Interrupted: its workers go with it, and the server's keeper does the rest.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
