"""The preview page: whole in itself, every variant for every contact, nobody's address."""

from __future__ import annotations

import json
import re
from html import unescape

import dagster as dg
import polars as pl
import pytest

from assets.previews import preview
from pipelines.message.compiled import Picture
from pipelines.message.lint.rules import findings
from pipelines.message.preview import HARD, About, cut, preview_page, variants_of
from pipelines.message.previewing import Desk, write_preview
from pipelines.partitions import CAMPAIGN
from pipelines.resources import LakeResource, WorkspaceResource
from pipelines.schema import AUDIENCE, CONTACTS

from .conftest import NOON, URL
from .lint_letters import letter

SLUG = "autumn-thanks"


@pytest.fixture
def contacts(lake, ada, bert, cleo, clock):
    people = [
        {
            **dict.fromkeys(CONTACTS.columns),
            "contact_id": person.contact_id,
            "address": person.address,
            "first_name": person.first_name,
            "last_name": person.last_name,
            "city": "Oslo",
            "created_at": clock.now(),
            "attributes": json.dumps({"tier": "gold"}),
        }
        for person in (ada, bert, cleo)
    ]
    lake.append(CONTACTS, pl.DataFrame(people, schema=CONTACTS.schema))


@pytest.fixture
def audience(lake, contacts, ada, bert, cleo, clock):
    decided = [(ada, "mail", None), (bert, "mail", None), (cleo, "excluded", "unsubscribed")]
    rows = [
        {
            **dict.fromkeys(AUDIENCE.columns),
            "campaign": SLUG,
            "contact_id": person.contact_id,
            "decision": decision,
            "reason": reason,
            "fields": "{}",
            "planned_at": clock.now(),
        }
        for person, decision, reason in decided
    ]
    lake.append(AUDIENCE, pl.DataFrame(rows, schema=AUDIENCE.schema))


@pytest.fixture
def desk(lake, home, project) -> Desk:
    return Desk(lake, home, project, "https://edge.mill.example")


def test_both_variants_are_shown_for_each_contact_in_two_widths_by_day_and_by_night(
    desk, contacts, clock
):
    made = write_preview(SLUG, desk, now=clock.now())

    page = made.path.read_text()
    frames = re.findall(r'<iframe sandbox="" loading="lazy" title="([^"]*)"', page)
    assert len(frames) == 2 * (3 + len(HARD)) * 4
    assert "thanks, Bert B., phone, day" in frames
    assert "thanks, Bert B., desktop, night" in frames
    assert "Ada, thank you for this autumn" in page
    assert page.count("<pre>") == 2 * (3 + len(HARD))
    assert made.samples == 3
    assert not made.is_approved


def test_the_page_asks_nobody_for_anything_and_names_no_address(desk, contacts, clock):
    page = write_preview(SLUG, desk, now=clock.now()).path.read_text()

    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="http', page)
    assert "@shop.example" not in unescape(page)


def test_only_the_audience_is_shown_once_there_is_one(desk, audience, clock):
    page = write_preview(SLUG, desk, now=clock.now()).path.read_text()

    assert "Cleo" not in page
    assert "<dt>To mail</dt><dd>2</dd>" in page
    assert "<dt>Left out: unsubscribed</dt><dd>1</dd>" in page


def test_a_message_without_styles_for_the_night_is_shown_by_day_alone():
    (variant,) = variants_of(letter(), [], public_url=URL)

    assert [light for light, _ in variant.views[0].frames] == ["day"]


def test_the_size_is_that_of_a_tracked_message_and_tells_how_much_room_is_left():
    message = letter('<p><a href="[[link:0]]">x</a></p>', links=["https://shop.example/"])

    (variant,) = variants_of(message, [], public_url=URL)

    view = variant.views[0]
    assert view.size > len(view.html.encode())
    assert view.room == (
        f"{view.size:,} bytes of HTML as sent, {102_000 - view.size:,} below the 102,000 "
        "at which Gmail clips"
    )


@pytest.mark.parametrize(
    ("text", "most", "shown"),
    [
        ("short", 5, "short"),
        ("twenty characters   and more", 21, "twenty characters…"),
        ("abc\u0301def", 4, "ab…"),
        ("ab\U0001f469\u200d\U0001f4bb and more", 5, "ab…"),
        ("ab\U0001f44d\U0001f3fd and more", 4, "ab…"),
    ],
    ids=["whole", "space", "accent", "joined", "shade"],
)
def test_an_inbox_cuts_a_subject_between_signs(text, most, shown):
    assert cut(text, most) == shown


def test_a_subject_is_shown_as_wide_and_as_narrow_inboxes_do():
    subject = "The winter papers are here, and all twelve of them hang in the loft to dry for you"
    variants = variants_of(letter(subjects={"a": subject}), [], public_url=URL)

    page = preview_page(variants, About("spring", NOON), sender="The Mill")

    assert f"<bdi>{subject[:69].rstrip()}…</bdi>" in page
    assert f"<bdi>{subject[:34].rstrip()}…</bdi>" in page


def test_every_finding_is_told_with_its_rule_and_what_to_do_and_what_is_allowed_with_its_reason():
    message = letter(
        '<p style="border-radius:6px">a</p><img src="https://shop.example/a.png" width="9">'
        '<p><a href="[[link:0]]">x</a><a href="[[link:1]]">y</a></p>',
        links=["http://shop.example/", "https://"],
    )
    found = findings(message, allowed={"link-not-https": "That page has no https yet"})
    about = About("spring", NOON, findings=found)

    page = preview_page(variants_of(message, [], public_url=URL), about, sender="The Mill")

    titles = re.findall(r'<h3 class="(\w+)">', page)
    assert titles == ["error", "warning", "note", "allowed"]
    assert [each.rule.name for each in found if f"<code>{each.rule.name}</code>" not in page] == []
    assert '<p class="then">Give it the width' not in page
    assert "Allowed: That page has no https yet" in page
    assert "Nothing stands in the way" not in page


def test_a_message_with_warnings_alone_may_go_out_and_the_page_says_so():
    message = letter('<img src="https://shop.example/a.png" width="9">')
    about = About("spring", NOON, findings=findings(message))

    page = preview_page(variants_of(message, [], public_url=URL), about, sender="The Mill")

    assert "Worth a look" in page
    assert "Nothing stands in the way" in page


def test_who_reads_another_language_is_shown_what_they_would_get():
    known = {"first_name": "", "city": "", "locale": "", "attributes": {}}
    german = letter(
        "<p>Guten Tag</p>",
        subjects={"a": "Die Winterpapiere sind da"},
        default_fields=known,
        language="de",
    )
    message = letter(default_fields=known, language="en", translations={"de": german})

    (variant,) = variants_of(message, [], public_url=URL)

    reader = variant.views[-1]
    assert reader.who == "Reads de"
    assert reader.subject == "Die Winterpapiere sind da"
    assert "Guten Tag" in reader.html


def test_a_picture_that_travels_with_the_message_is_in_the_page():
    picture = Picture(kind="image/png", content="AAAA")
    identifier = "0123456789abcdef@lettermill"
    message = letter(f'<img src="cid:{identifier}">', pictures={identifier: picture})

    (variant,) = variants_of(message, [], public_url=URL)

    assert 'src="data:image/png;base64,AAAA"' in variant.views[0].html


def test_what_nobody_has_yet_stands_there_as_a_sample():
    message = letter("<p>{{ coupon }}</p>", required=["coupon"])
    message = message.model_copy(
        update={"default_fields": {**message.default_fields, "coupon": ""}}
    )

    (variant,) = variants_of(message, [], public_url=URL)

    assert [view.refused for view in variant.views] == [""] * len(HARD)
    assert f"<p>{message.samples['coupon']}</p>" in variant.views[0].html


def test_a_lake_without_contacts_has_a_preview_all_the_same(desk, clock):
    assert write_preview(SLUG, desk, now=clock.now()).samples == 0


def test_the_asset_writes_the_page_and_says_where(home, project, contacts, monkeypatch):
    monkeypatch.setenv("LETTERMILL_HOME", str(home.root))
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(CAMPAIGN.name, [SLUG])

    result = dg.materialize(
        [preview],
        instance=instance,
        partition_key=SLUG,
        resources={"lake": LakeResource(), "workspace": WorkspaceResource()},
    )

    (made,) = result.asset_materializations_for_node("campaigns__preview")
    assert made.metadata["page"].value == str(home.previews / f"{SLUG}.html")
    assert (home.previews / f"{SLUG}.html").is_file()
    assert "note, `client-plainer`: **HTML** has" in made.metadata["findings"].value
