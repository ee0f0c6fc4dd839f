"""A campaign in several languages: who gets which, and what does not fit together."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipelines.campaigns.campaign import load
from pipelines.errors import TemplateInvalid
from pipelines.message.compile import compile_message
from pipelines.message.compiled import CompiledMessage
from pipelines.message.languages import PHRASES, phrases
from pipelines.settings import CHECKOUT

SLUG = "autumn-thanks"
ENGLISH = """[% extends "layouts/letter.mjml.j2" %][% block content %][% call text() %]
<p>Thank you, {{ first_name or "friend" }}: {{ birth_on|date }}.
<a href="https://shop.example/winter">Winter</a></p>[% endcall %][% endblock %]"""
GERMAN = """[% extends "layouts/letter.mjml.j2" %][% block content %][% call text() %]
<p>Danke, {{ first_name or "Sie" }}: {{ birth_on|date }}.
<a href="https://shop.example/de/winter">Winter</a> <a href="https://shop.example/winter">English</a></p>
[% endcall %][% endblock %]"""


@pytest.fixture
def bilingual(workshop: Path) -> Path:
    """The workshop with a brand and a campaign in English and German."""
    change(workshop / "assets/templates/brands/mill.yaml", languages=["en", "de"])
    folder = workshop / "assets/campaigns" / SLUG
    (folder / "body.mjml.j2").write_text(ENGLISH)
    (folder / "body.de.mjml.j2").write_text(GERMAN)
    german = {"de": {"subject": "Danke, {{ first_name or 'Sie' }}", "preheader": "Ein Dank"}}
    variants = [
        {"name": "only", "subject": "Thanks", "preheader": "A thank-you", "languages": german}
    ]
    change(folder / "campaign.yaml", variants=variants)
    return workshop


def change(path: Path, **values: object) -> None:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}))


def compiled(project: Path) -> CompiledMessage:
    return compile_message(load(project, SLUG), project=project)


def problems(project: Path) -> str:
    with pytest.raises(TemplateInvalid) as refused:
        compiled(project)
    return "\n".join(f"{each.where}: {each.what}" for each in refused.value.problems)


@pytest.mark.parametrize(
    ("locale", "greeting"),
    [
        ("de", "Danke, Ada"),
        ("de-AT", "Danke, Ada"),
        ("DE_ch", "Danke, Ada"),
        ("en-GB", "Thank you, Ada"),
        ("fr", "Thank you, Ada"),
        ("", "Thank you, Ada"),
        (None, "Thank you, Ada"),
        ("d" * 1000, "Thank you, Ada"),
    ],
)
def test_everybody_gets_their_language_or_the_first_one(bilingual, fill, locale, greeting):
    found = fill(compiled(bilingual), locale=locale)

    assert greeting in found.text
    assert greeting in found.html


def test_subject_preheader_footer_list_and_page_are_in_the_same_language(bilingual, fill):
    found = fill(compiled(bilingual), locale="de-DE")

    assert (found.subject, found.preheader) == ("Danke, Ada", "Ein Dank")
    assert "Abmelden" in found.text
    assert "Unsubscribe" not in found.text
    assert 'lang="de"' in found.html
    assert b"List-Id: Neuigkeiten <" in found.raw


def test_a_letter_in_another_language_than_the_contact_s_says_dates_in_its_own(bilingual, fill):
    message = compiled(bilingual)

    assert "April 1, 1990" in fill(message, locale="fr-FR", birth_on="1990-04-01").text
    assert "1 April 1990" in fill(message, locale="en-GB", birth_on="1990-04-01").text
    assert "1. April 1990" in fill(message, locale="de-DE", birth_on="1990-04-01").text


def test_so_does_a_letter_that_is_in_one_language_only(workshop, fill):
    (workshop / "assets/campaigns" / SLUG / "body.mjml.j2").write_text(
        '[% extends "layouts/plain.mjml.j2" %][% block content %][% call text() %]'
        "<p>{{ birth_on|date }}, {{ 123456|money('EUR') }}</p>[% endcall %][% endblock %]"
    )
    message = compiled(workshop)

    told = fill(message, locale="de-DE", birth_on="1990-04-01").text
    assert "April 1, 1990, €1,234.56" in told
    assert "1 April 1990" in fill(message, locale="en-GB", birth_on="1990-04-01").text
    # What was approved before it said its language is filled as it was.
    before = message.model_copy(update={"language": ""})
    assert "1. April 1990" in fill(before, locale="de-DE", birth_on="1990-04-01").text


def test_a_link_has_one_number_in_all_languages(bilingual):
    message = compiled(bilingual)
    german = message.translations["de"]

    assert german.links == message.links
    assert message.links.index("https://shop.example/de/winter") > message.links.index(
        "https://shop.example/winter"
    )
    assert f"[[link:{message.links.index('https://shop.example/winter')}]]" in german.html


def test_a_compiled_message_comes_back_whole_from_its_approval(bilingual, fill):
    message = compiled(bilingual)

    kept = CompiledMessage.model_validate(message.model_dump(mode="json"))

    assert fill(kept, locale="de").raw == fill(message, locale="de").raw


def test_one_language_leaves_none_but_its_name_in_what_is_approved(workshop):
    kept = compiled(workshop).model_dump(mode="json")

    assert kept["language"] == "en"
    assert {"translations", "pictures", "required", "segments"} & set(kept) == set()


def test_a_body_without_a_subject_in_its_language_is_named_with_the_variant(bilingual):
    variants = [{"name": "only", "subject": "Thanks"}]
    change(bilingual / "assets/campaigns" / SLUG / "campaign.yaml", variants=variants)

    assert "body.de.mjml.j2: variants have no subject for it: only" in problems(bilingual)


def test_a_subject_without_a_body_is_named_with_the_file_to_write(bilingual):
    (bilingual / "assets/campaigns" / SLUG / "body.de.mjml.j2").unlink()

    assert "write body.de.mjml.j2" in problems(bilingual)


def test_a_language_the_brand_does_not_write_in_is_a_problem(bilingual):
    change(bilingual / "assets/templates/brands/mill.yaml", languages=["en", "fr"])

    assert "'de' is not among the further languages of brand mill" in problems(bilingual)


def test_what_is_wrong_in_a_translation_is_told_with_its_file(bilingual):
    folder = bilingual / "assets/campaigns" / SLUG
    (folder / "body.de.mjml.j2").write_text(GERMAN.replace("first_name", "fist_name"))

    told = problems(bilingual)

    assert "body.de.mjml.j2, line 2" in told
    assert "Did you mean 'first_name'?" in told


def test_words_of_a_language_nobody_wrote_are_asked_for(bilingual):
    with pytest.raises(TemplateInvalid, match="blocks cannot speak 'tlh'"):
        phrases(bilingual, "tlh")


def test_every_language_has_every_word_and_regions_fall_back():
    known = yaml.safe_load((CHECKOUT / PHRASES).read_text())

    assert {frozenset(told) for told in known.values()} == {frozenset(known["en"])}
    assert phrases(CHECKOUT, "de-AT") == phrases(CHECKOUT, "de")


def test_the_first_language_may_be_the_more_exact_one(bilingual, fill):
    change(bilingual / "assets/templates/brands/mill.yaml", languages=["en-GB", "en"])
    folder = bilingual / "assets/campaigns" / SLUG
    (folder / "body.de.mjml.j2").rename(folder / "body.en.mjml.j2")
    further = {"en": {"subject": "Of all English"}}
    variants = [{"name": "only", "subject": "Of Britain", "languages": further}]
    change(folder / "campaign.yaml", variants=variants)
    message = compiled(bilingual)

    assert fill(message, locale="en-GB").subject == "Of Britain"
    assert fill(message, locale="en-US").subject == "Of all English"
    assert fill(message, locale="fr").subject == "Of Britain"


@pytest.mark.parametrize("odd", [["en"], {"a": 1}, 7, "\u0000"])
def test_a_locale_that_is_none_is_no_error(bilingual, fill, odd):
    assert fill(compiled(bilingual), locale=odd).subject == "Thanks"


@pytest.mark.parametrize(("language", "way"), [("ar", "rtl"), ("he-IL", "rtl"), ("en", "ltr")])
def test_a_letter_runs_from_the_side_its_language_runs_from(workshop, fill, language, way):
    change(workshop / "assets/templates/brands/mill.yaml", languages=[language])
    file = workshop / PHRASES
    known = yaml.safe_load(file.read_text())
    change(file, **{language: known["en"]})

    page = fill(compiled(workshop)).html

    assert f'lang="{language}" dir="{way}"' in page
