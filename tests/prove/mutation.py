"""Mutants: the real source of a function with one line changed, put in the function's place.

A mutant whose line is no longer in the source is an error and not a pass, so mutants cannot
outlive the code they change.
"""

from __future__ import annotations

import inspect
import textwrap
from types import ModuleType


def mutate(module: ModuleType, function: str, *changes: tuple[str, str]) -> None:
    """Replace `module.function` by itself with each (old, new) text changed.

    Called in a process of its own, because nothing puts the original back. Raises LookupError when
    an old text is not in the function exactly once.
    """
    source = textwrap.dedent(inspect.getsource(getattr(module, function)))
    for old, new in changes:
        if source.count(old) != 1:
            raise LookupError(f"{module.__name__}.{function} no longer says: {old}")
        source = source.replace(old, new)
    code = compile(source, f"<mutant of {module.__name__}.{function}>", "exec")
    exec(code, vars(module))
