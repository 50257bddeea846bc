from __future__ import annotations

import gettext
import re
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

ROOM = Path("apps/invoicing")
LANGUAGES = ("de", "es", "fr", "it", "ja", "nl")


def written(language: str) -> dict[str, str]:
    with (ROOM / "locale" / language / "LC_MESSAGES" / "django.po").open("rb") as file:
        catalog = read_po(file, locale=language)
    return {str(message.id): str(message.string) for message in catalog if message.id}


def asked_for() -> set[str]:
    found = extract_from_dir(
        str(ROOM), method_map=[("**.py", "python")], keywords={"_": None, "gettext_noop": None}
    )
    return {str(message) for _file, _line, message, _comments, _context in found}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_all_the_words_and_no_other(language: str) -> None:
    assert set(written(language)) == asked_for()
    assert all(written(language).values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_fills_in_the_same_blanks(language: str) -> None:
    for message, text in written(language).items():
        assert _blanks(message) == _blanks(text), message


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_compiled_is_what_is_written(language: str) -> None:
    with (ROOM / "locale" / language / "LC_MESSAGES" / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for message, text in written(language).items():
        assert compiled.gettext(message) == text


def test_the_paper_and_the_portal_speak_one_german() -> None:
    with Path("apps/portal/locale/de/LC_MESSAGES/django.po").open("rb") as file:
        portal = {m.id: m.string for m in read_po(file, locale="de") if _is_plain(m)}
    for message, text in written("de").items():
        assert portal.get(message, text) == text


def _is_plain(message: Message) -> bool:
    return bool(message.id) and isinstance(message.id, str)


def _blanks(text: str) -> list[str]:
    return sorted(re.findall(r"%\(\w+\)[sd]|%%", text))
