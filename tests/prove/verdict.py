"""What a harness found."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Findings:
    """What a part of a harness met: how many attempts it made, and what was wrong."""

    probes: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Verdict:
    """The result of a harness.

    `rounds` counts the attempts to break the system (kills and crashes, or probes), `faults` names
    what broke, `caught` says of each mutant whether the harness noticed it.
    """

    name: str
    profile: str
    rounds: int = 0
    faults: list[str] = field(default_factory=list)
    caught: dict[str, bool] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @property
    def uncaught(self) -> list[str]:
        """The mutants that went unnoticed: as long as there is one, a zero proves nothing."""
        return [mutant for mutant, noticed in self.caught.items() if not noticed]

    @property
    def holds(self) -> bool:
        """Whether nothing broke and every mutant was noticed."""
        return not self.faults and not self.uncaught

    def say(self, message: str) -> None:
        """Report progress on stderr; stdout carries the result's line alone."""
        elapsed = time.monotonic() - self.started
        print(f"{self.name}: {elapsed:5.1f} s  {message}", file=sys.stderr, flush=True)

    def line(self) -> str:
        """Return the result as one line of JSON."""
        return json.dumps(
            {
                "name": self.name,
                "profile": self.profile,
                "rounds": self.rounds,
                "faults": len(self.faults),
                "mutants": len(self.caught),
                "mutants_caught": sum(self.caught.values()),
                "seconds": round(time.monotonic() - self.started, 1),
            }
        )
