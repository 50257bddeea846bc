"""Counts the published examples, and ends the run with one line that says how they did."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

PASSED, FAILED, NOT_SUPPORTED = "passed", "failed", "not supported"
_outcomes: dict[str, tuple[str, str]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the outcome of an example, and the reason when it is not supported."""
    if "test_published.py" not in report.nodeid:
        return
    reason = getattr(report, "wasxfail", None)
    if report.failed:
        _outcomes[report.nodeid] = (FAILED, "")
    elif reason is not None:
        _outcomes[report.nodeid] = (NOT_SUPPORTED, reason.removeprefix("reason: "))
    elif report.when == "call":
        _outcomes[report.nodeid] = (PASSED, "")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Name what is not supported, then print the line, after everything else."""
    yield
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or not _outcomes:
        return
    for node, (outcome, reason) in sorted(_outcomes.items()):
        if outcome == NOT_SUPPORTED:
            terminal.write_line(f"not supported: {node.partition('[')[2][:-1]}: {reason}")
    found = [outcome for outcome, _ in _outcomes.values()]
    counts = (f"{found.count(each)} {each}" for each in (PASSED, FAILED, NOT_SUPPORTED))
    terminal.write_line(f"cases: {', '.join(counts)}")
