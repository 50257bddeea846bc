"""Values that are made by the thousand: as frozen as a dataclass, without paying for it each time.

A frozen dataclass sets every field by a call that goes past its own guard. A month's end makes
hundreds of values an invoice, and a sixth of its time went there. Here the guard is the type
checker: to it `value_class` is `dataclass`, so it refuses whatever would change one. At run time a
value has a plain class with slots, and is compared and hashed by its fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["value_class"]

if TYPE_CHECKING:
    from dataclasses import dataclass as value_class
else:
    from dataclasses import dataclass

    def value_class(*, frozen: bool, slots: bool, **more: Any) -> Any:
        """Decorate as `dataclass(frozen=True, slots=True)` would; it may be ordered as well."""
        return dataclass(unsafe_hash=frozen, slots=slots, **more)
