from __future__ import annotations

import pytest
from django.core.management import get_commands, load_command_class

from apps.backoffice.commands import Command

OURS = sorted(name for name, app in get_commands().items() if app == "apps.backoffice")
ON_OUR_BASE = [n for n in OURS if isinstance(load_command_class("apps.backoffice", n), Command)]


@pytest.mark.parametrize("name", ON_OUR_BASE)
def test_help_ends_with_two_examples_that_parse(name: str) -> None:
    command = load_command_class("apps.backoffice", name)
    assert isinstance(command, Command)
    examples = command.examples.splitlines()
    assert len(examples) == 2
    assert all(example.startswith(f"  manage.py {name}") for example in examples)
    assert command.create_parser("manage.py", name).format_help().rstrip().endswith(examples[-1])


def test_a_name_cannot_send_escape_sequences_to_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Command().print_table(["Name"], [["\x1b]0;owned\x07[bold]Acme[/bold]"]])
    assert capsys.readouterr().out.splitlines()[1].strip() == "]0;owned[bold]Acme[/bold]"
