"""Tax ids by their form; the numbers are published ones."""

from __future__ import annotations

import pytest

from apps.tenants.vat import Problem, read


@pytest.mark.parametrize(
    ("tax_id", "country", "prefix", "number"),
    [
        ("DE136695976", "DE", "DE", "136695976"),
        ("de 136 695 976", "DE", "DE", "136695976"),
        ("136.695.976", "DE", "DE", "136695976"),
        ("ATU13585627", "AT", "AT", "U13585627"),
        ("FR40303265045", "FR", "FR", "40303265045"),
        ("FR40303265045", "MC", "FR", "40303265045"),
        ("EL094259216", "GR", "EL", "094259216"),
        ("GR094259216", "GR", "EL", "094259216"),
        ("IE 6388047V", "IE", "IE", "6388047V"),
        ("GB 980 7806 84", "GB", "GB", "980780684"),
        ("XI 980 7806 84", "GB", "XI", "980780684"),
        ("CHE-100.155.212 MWST", "CH", "CH", "CHE100155212"),
        ("CHE100155212", "CH", "CH", "CHE100155212"),
    ],
)
def test_a_number_is_read_however_it_is_spaced(
    tax_id: str, country: str, prefix: str, number: str
) -> None:
    found = read(tax_id, country)
    assert found.number is not None
    assert (found.number.prefix, found.number.number) == (prefix, number)
    assert found.number.in_vies == (prefix not in {"GB", "CH"})


@pytest.mark.parametrize(
    ("tax_id", "country", "problem"),
    [
        ("DE136695978", "DE", Problem.CHECKSUM),
        ("DE13669597", "DE", Problem.FORM),
        ("our tax id", "DE", Problem.FORM),
        ("FR40303265045", "DE", Problem.COUNTRY),
        ("DE136695976", "FR", Problem.COUNTRY),
        ("XI980780685", "GB", Problem.CHECKSUM),
    ],
)
def test_what_is_wrong_is_said(tax_id: str, country: str, problem: Problem) -> None:
    found = read(tax_id, country)
    assert (found.number, found.problem) == (None, problem)


@pytest.mark.parametrize(
    ("tax_id", "country"), [("", "DE"), (" - ", "DE"), ("12-3456789", "US"), ("X", "")]
)
def test_nothing_is_said_about_what_has_no_rules(tax_id: str, country: str) -> None:
    found = read(tax_id, country)
    assert (found.number, found.problem) == (None, Problem.NONE)
