"""What contacts must meet before they are written, in words, for whoever lists it without checking."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

EXPECTED: Mapping[str, str] = MappingProxyType(
    {
        "there_are_contacts": "At least one contact is there: an empty export is a broken one.",
        "contact_id_is_there": "Every contact has an id.",
        "contact_id_is_unique": "No two contacts share an id.",
        "address_is_there": "Every contact has an address.",
        "address_is_unique": "No two contacts share an address: one person is one contact.",
        "address_can_be_mailed": "Every address has the form of one that mail can reach.",
        "country_is_two_letters": "Where a country is known it is two letters, but for one row in a hundred.",
    }
)
# These are told and stop nothing; every other one that fails keeps the last good table.
WARNINGS = frozenset({"country_is_two_letters"})
