"""Stripe's nested forms, read back as its own client writes them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stripe._encode import _api_encode

from apps.sandbox import forms

names = st.text("abcdefghij_", min_size=1, max_size=8)
texts = st.text(max_size=12)
nests = st.recursive(
    texts,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4),
        st.dictionaries(names, inner, min_size=1, max_size=4),
    ),
    max_leaves=12,
)


CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def as_decoded(value: Any) -> Any:
    if isinstance(value, list):
        return {str(place): as_decoded(item) for place, item in enumerate(value)}
    if isinstance(value, dict):
        return {name: as_decoded(item) for name, item in value.items()}
    return value


@CALM
@given(st.dictionaries(names, nests, max_size=5))
def test_what_is_encoded_is_decoded_the_same(params: dict[str, Any]) -> None:
    assert forms.decode(urlencode(forms.encode(params))) == as_decoded(params)


@CALM
@given(st.dictionaries(names, nests, max_size=5))
def test_what_stripes_client_encodes_is_decoded_the_same(params: dict[str, Any]) -> None:
    written = urlencode(list(_api_encode(params)))
    assert forms.decode(written) == as_decoded(params)


@CALM
@given(st.text(max_size=40))
def test_no_text_at_all_breaks_the_decoder(text: str) -> None:
    try:
        decoded = forms.decode(text)
    except forms.BadForm:
        return
    assert isinstance(decoded, dict)


def test_empty_brackets_count_up() -> None:
    assert forms.decode("expand[]=a&expand[]=b") == {"expand": {"0": "a", "1": "b"}}


@pytest.mark.parametrize("body", ["a=1&a[b]=2", "a[b]=2&a=1", "[a]=1", "a[b=1"])
def test_a_key_that_is_no_key_is_refused(body: str) -> None:
    with pytest.raises(forms.BadForm):
        forms.decode(body)
