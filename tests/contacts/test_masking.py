"""What is shown of people outside the lake names nobody."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl

from pipelines.contacts.masking import masked

PERSON = {
    "contact_id": 7,
    "address": "lucia@inbox.example",
    "first_name": "Lucía",
    "last_name": "Ibáñez",
    "birth_on": date(1963, 2, 9),
    "phone": 34600111222,
    "attributes": '{"note": "calls herself Lu"}',
    "country": "ES",
    "last_ordered_at": datetime(2026, 11, 1, 9, tzinfo=UTC),
    "orders": 3,
}


def test_of_a_person_only_ids_codes_counts_and_times_of_events_are_shown():
    (shown,) = masked(pl.DataFrame([PERSON]))

    assert shown == {
        "contact_id": "7",
        "address": "l•••@inbox.example",
        "first_name": "L•••",
        "last_name": "I•••",
        "birth_on": "19••-••-••",
        "phone": "3•••",
        "attributes": "{•••",
        "country": "ES",
        "last_ordered_at": "2026-11-01 09:00:00+00:00",
        "orders": "3",
    }


def test_of_an_export_no_column_is_trusted_by_its_name():
    row = {"row_number": 1, "country": "Ana Ruiz", "status": "600 111 222", "email": "a@b.example"}

    (shown,) = masked(pl.DataFrame([row]), raw=True)

    assert shown == {
        "row_number": "1",
        "country": "A•••",
        "status": "6•••",
        "email": "a•••@b.example",
    }
