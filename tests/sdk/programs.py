"""Programs that use the SDK as an application would: in a process of their own, without Django."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "sdk" / "python"
CLIENT = """
import os, signal, sys, time
import countinghouse
def client(**options):
    quick = {"interval": 0.01, "first_delay": 0.01, "longest_delay": 0.05, **options}
    return countinghouse.Client(api_key="bk_test_key", base_url=sys.argv[1],
                                usage=countinghouse.UsageOptions(**quick))
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a program; `client(**options)` makes it a client of the address given first."""
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT + textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(code: str, *arguments: object, status: int = 0) -> str:
    """Run a program to its end, hold it to its exit status, and return what it printed."""
    program = start(code, *arguments)
    output, errors = program.communicate(timeout=120)
    assert program.returncode == status, errors
    return output
