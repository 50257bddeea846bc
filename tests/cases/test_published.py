from __future__ import annotations

import pytest

from tests.cases.records import Record, Unsupported, adapter_for, differences, records


@pytest.mark.parametrize("record", [*records()], ids=lambda record: record.id)
def test_the_engine_agrees_with_the_published_example(record: Record) -> None:
    try:
        adapter = adapter_for(record)
        if "error" in record.expected:
            with pytest.raises(ValueError):  # noqa: PT011 - the wording is the peer's
                adapter(record)
            return
        results = adapter(record)
    except Unsupported as reason:
        pytest.xfail(str(reason))
    assert differences(record, results) == []
