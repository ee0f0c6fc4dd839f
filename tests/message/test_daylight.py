"""A page by day and by night, whatever the system of whoever looks at it says."""

from __future__ import annotations

import pytest

from pipelines.message.daylight import Light, has_night, seen_by

DARK = "<style>@media (prefers-color-scheme: dark) { p { color: white } }</style>"


@pytest.mark.parametrize(
    ("html", "known"),
    [
        (DARK, True),
        ('<picture><source media="(prefers-color-scheme:dark)" srcset="a.png"></picture>', True),
        ("<style>@media (prefers-color-scheme: light) { p { color: black } }</style>", False),
        ("<p>@media (prefers-color-scheme: dark)</p>", False),
        ("<p>Hello</p>", False),
    ],
    ids=["style", "picture", "day-alone", "words", "none"],
)
def test_a_page_has_a_night_where_it_asks_for_one(html, known):
    assert has_night(html) == known


def test_by_night_the_styles_for_it_hold_and_by_day_they_never_do():
    page = (
        "<style>@media screen and ( prefers-color-scheme : DARK ) and (max-width: 9px) {}</style>"
    )

    night, day = seen_by(Light.NIGHT, page), seen_by(Light.DAY, page)

    assert "screen and (min-width: 0px) and (max-width: 9px)" in night
    assert "screen and (max-width: 0px) and (max-width: 9px)" in day


def test_styles_for_the_day_are_off_at_night():
    page = "<style>@media (prefers-color-scheme: light) {}</style>"

    assert "(max-width: 0px)" in seen_by(Light.NIGHT, page)
    assert "(min-width: 0px)" in seen_by(Light.DAY, page)


def test_the_page_says_it_has_the_scheme_it_is_shown_in_alone():
    page = (
        '<meta name="color-scheme" content="light dark" />'
        "<style>:root { color-scheme: light dark; supported-color-schemes: light dark; }</style>"
    )

    assert seen_by(Light.DAY, page) == page.replace("light dark", "light")
    assert seen_by(Light.NIGHT, page) == page.replace("light dark", "dark")


def test_what_is_written_in_the_letter_stays_as_it_is():
    page = "<p>color-scheme: light dark; (prefers-color-scheme: dark)</p>"

    assert seen_by(Light.NIGHT, page) == page
