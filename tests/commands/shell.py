"""Running a management command as a shell would, in the test's own database."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

from django.core.management import CommandError, call_command


@dataclass(frozen=True, slots=True)
class Result:
    """What a command said and how it ended."""

    out: str
    err: str
    code: int

    @property
    def json(self) -> Any:
        """What it printed as JSON."""
        return json.loads(self.out)


def run(*words: str) -> Result:
    """Run a command; a refusal has code 1 and its sentence as `err`."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command(words[0], *words[1:], stdout=out, stderr=err)
    except CommandError as refusal:
        return Result(out.getvalue(), str(refusal), refusal.returncode)
    except SystemExit as end:
        return Result(out.getvalue(), err.getvalue(), int(end.code or 0))
    return Result(out.getvalue(), err.getvalue(), 0)


def run_json(*words: str) -> Any:
    """Run a command that must succeed, with `--format json`; return what it printed."""
    result = run(*words, "--format", "json")
    assert result.code == 0, result.err
    return result.json
