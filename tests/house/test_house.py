"""The rules of the house, read from the code: each test names one and lists what breaks it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APPS = ROOT / "apps"
DOORS = ("api", "backoffice", "live", "portal")
ROOMS = sorted(
    path.name
    for path in APPS.iterdir()
    if (path / "__init__.py").exists() and path.name not in DOORS
)
WRITES = {
    "save", "create", "update", "delete", "bulk_create", "bulk_update", "get_or_create",
    "update_or_create",
}  # fmt: skip
CLOCKS = {"now", "utcnow", "today", "localdate", "localtime"}
ENGINE_ROOT = "apps.engine"


def modules(*parts: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(APPS.joinpath(*parts).rglob("*.py")):
        if not {"migrations", "djstripe_migrations"} & set(path.parts):
            yield path.relative_to(ROOT), ast.parse(path.read_text())


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, ast.Attribute]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node, node.func


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""


@pytest.mark.parametrize("room", [*ROOMS, *DOORS])
def test_every_room_says_what_it_owns_and_what_it_never_does(room: str) -> None:
    doc = ast.get_docstring(ast.parse((APPS / room / "__init__.py").read_text())) or ""
    assert "Owns:" in doc
    assert "Never:" in doc


def test_the_engine_imports_only_the_standard_library() -> None:
    bad = [
        f"{path}:{line} {name}"
        for path, tree in modules("engine")
        for line, name in imports(tree)
        if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith(ENGINE_ROOT)
    ]
    assert not bad


def test_the_engine_knows_no_float_and_no_clock() -> None:
    bad = [
        f"{path}:{node.lineno}"
        for path, tree in modules("engine")
        for node in ast.walk(tree)
        if (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (isinstance(node, ast.Name) and node.id in {"float", "time"})
        or (isinstance(node, ast.Attribute) and node.attr in CLOCKS)
    ]
    assert not bad


def test_only_the_clock_knows_the_time() -> None:
    bad = [
        f"{path}:{call.lineno} .{function.attr}()"
        for path, tree in modules()
        for call, function in calls(tree)
        if function.attr in CLOCKS
        and path.as_posix() != "apps/core/clock.py"
        and not (
            isinstance(function.value, ast.Name) and function.value.id in {"clock", "commands"}
        )
    ]
    assert not bad


@pytest.mark.parametrize("door", DOORS)
def test_doors_never_write_rows(door: str) -> None:
    bad = [
        f"{path}:{call.lineno} .{function.attr}()"
        for path, tree in modules(door)
        for call, function in calls(tree)
        if function.attr in WRITES and _looks_like_a_row(function.value)
    ]
    assert not bad


def _looks_like_a_row(value: ast.expr) -> bool:
    """Whether the call goes to a manager, a query or a name that stands for a row."""
    text = ast.unparse(value)
    return ".objects" in text or text.endswith(
        ("_set", "row", "rows", "obj", "instance", "queryset")
    )


def test_services_are_documented_verbs_with_named_arguments() -> None:
    bad = []
    for path, node in _services():
        if len(node.args.args) > 1:
            bad.append(f"{path}:{node.lineno} {node.name}: several positional arguments")
        if not ast.get_docstring(node):
            bad.append(f"{path}:{node.lineno} {node.name}: no docstring")
    assert not bad, "\n".join(bad)


def _services() -> Iterator[tuple[Path, ast.FunctionDef]]:
    """Every public function of services.py, and what a package of services offers outside."""
    for path, tree in modules():
        if path.stem == "services":
            yield from ((path, node) for node in _functions(tree) if not node.name.startswith("_"))
        elif path.parent.name == "services" and path.stem != "__init__":
            offered = (ROOT / path.parent / "__init__.py").read_text()
            yield from ((path, n) for n in _functions(tree) if f'"{n.name}"' in offered)


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    return (node for node in tree.body if isinstance(node, ast.FunctionDef))


def test_nobody_swallows_errors() -> None:
    bad = [
        f"{path}:{node.lineno}"
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or all(isinstance(line, ast.Pass) for line in node.body))
    ]
    assert not bad


def test_nothing_listens_to_signals() -> None:
    bad = [
        f"{path}:{line} {name}"
        for path, tree in modules()
        for line, name in imports(tree)
        if name.endswith(".signals") or name == "django.dispatch"
    ]
    assert not bad


def test_streams_and_callbacks_open_a_scope_of_their_own() -> None:
    bad = [
        f"{path}: {word}"
        for path, tree in modules()
        for word in ("StreamingHttpResponse", "on_commit")
        if word in ast.unparse(tree) and "_scope(" not in ast.unparse(tree)
    ]
    assert not bad


def test_no_test_is_switched_off() -> None:
    marks = (
        "pytest.mark." + "skip",
        "pytest." + "skip(",
        "pytest.mark." + "xfail",
        "assert " + "True",
    )
    bad = [
        f"{path.relative_to(ROOT)}: {mark}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for mark in marks
        if mark in path.read_text()
    ]
    assert not bad
