"""The names of the expectations contacts must meet, for whoever lists them without checking."""

from __future__ import annotations

NAMES = (
    "there_are_contacts",
    "contact_id_is_there",
    "contact_id_is_unique",
    "address_is_there",
    "address_is_unique",
    "address_can_be_mailed",
    "country_is_two_letters",
)
