"""Tokens: read back what was signed, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.message.tokens import (
    Purpose,
    Token,
    read,
    read_return_path,
    sign,
    sign_return_path,
)

KEY = b"k" * 32
CONTACT = st.integers(-(2**63), 2**63 - 1)
CAMPAIGN = st.from_regex(r"[a-z0-9][a-z0-9-]{0,59}(@[0-9A-Za-z-]{1,20})?", fullmatch=True)


@given(st.sampled_from(Purpose), CAMPAIGN, CONTACT)
def test_a_token_is_read_back_for_its_own_purpose_and_key_only(purpose, campaign, contact_id):
    token = Token(purpose, campaign, contact_id)

    text = sign(token, KEY)

    others = [other for other in Purpose if other is not purpose]
    assert read(text, purpose, KEY) == token
    assert [read(text, other, KEY) for other in others] == [None] * len(others)
    assert read(text, purpose, b"another key") is None


@given(st.integers(0, 60), st.characters(min_codepoint=33, max_codepoint=126))
def test_a_token_with_any_letter_changed_is_none_of_ours(at, letter):
    text = sign(Token(Purpose.CLICK, "autumn-thanks", 7), KEY)
    changed = text[:at] + letter + text[at + 1 :]

    found = read(changed, Purpose.CLICK, KEY)

    assert (found is None) == (changed != text)


@given(st.text(max_size=500))
def test_no_text_at_all_breaks_the_reader(text):
    assert read(text, Purpose.OPEN, KEY) is None
    assert read_return_path(text, ["autumn-thanks"], KEY) is None
    assert read_return_path("b+" + text, ["autumn-thanks"], KEY) is None


@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_a_return_path_is_read_back_whatever_its_case(case):
    local = sign_return_path("autumn-thanks@2026-11", 123456789, KEY)

    found = read_return_path(case(local), ["other", "autumn-thanks@2026-11"], KEY)

    assert len(local) <= 64
    assert found == Token(None, "autumn-thanks@2026-11", 123456789)
    assert read_return_path(local, ["other"], KEY) is None


@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_a_return_path_of_mail_from_before_is_read_as_well(case):
    local = "b+aeaaaaaaa5n42flyndxujbvjk65d2crmfzcuwqj3"  # base32, as mailed until then

    found = read_return_path(case(local), ["autumn-thanks@2026-11"], KEY)

    assert found == Token(None, "autumn-thanks@2026-11", 123456789)
    assert read_return_path(f"{local[:-1]}4", ["autumn-thanks@2026-11"], KEY) is None
