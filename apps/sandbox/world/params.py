"""The parameters of a request, which remember what was looked at.

A parameter that Stripe knows and the sandbox does not act on would be a fake success. So what
nobody looked at by the end of an operation is answered with 501.
"""

from __future__ import annotations

from typing import Any

# They change nothing that the sandbox shows, or say what it does anyway.
WITHOUT_EFFECT = frozenset({"expand", "use_stripe_sdk", "return_url", "radar_options", "hooks"})


class Params(dict[str, Any]):
    """A dictionary that knows which of its entries were read."""

    def __init__(self, *entries: Any, **more: Any) -> None:
        super().__init__(*entries, **more)
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self._read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a parameter, or the default."""
        self._read.add(name)
        return super().get(name, default)

    def take(self, *names: str) -> dict[str, Any]:
        """Return those of these parameters that were given; an empty text unsets: None."""
        self._read.update(names)
        given = {name: self[name] for name in names if name in self}
        return {name: None if value == "" else value for name, value in given.items()}

    def unread(self) -> list[str]:
        """Return the parameters that nobody looked at."""
        return sorted(set(self) - self._read - WITHOUT_EFFECT)
