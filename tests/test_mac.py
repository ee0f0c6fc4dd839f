"""The keyed digest every token, return path and address hash is made with."""

from __future__ import annotations

import hmac

from hypothesis import given
from hypothesis import strategies as st

from pipelines.mac import mac


@given(key=st.binary(max_size=200), message=st.binary(max_size=500))
def test_it_is_hmac_sha_256_for_keys_and_messages_of_any_length(key: bytes, message: bytes):
    assert mac(key, message) == hmac.digest(key, message, "sha256")
