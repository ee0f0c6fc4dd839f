"""Cases of messages: every one of the project holds, and one that does not is told with what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.campaigns.campaign import load, slugs
from pipelines.errors import TemplateInvalid
from pipelines.message.cases import Case, case_files, outcome, read_case
from pipelines.message.compile import compile_message
from pipelines.message.compiled import CompiledMessage
from pipelines.settings import CHECKOUT

CASES = [
    pytest.param(slug, path, id=f"{slug}-{path.stem}")
    for slug in slugs(CHECKOUT)
    for path in case_files(CHECKOUT, slug)
]


@pytest.mark.parametrize(("slug", "path"), CASES)
def test_the_message_is_what_its_case_expects(slug: str, path: Path):
    message = compile_message(load(CHECKOUT, slug), project=CHECKOUT)

    assert outcome(message, read_case(path)) == []


@pytest.mark.parametrize("slug", slugs(CHECKOUT))
def test_every_campaign_has_a_case(slug: str):
    assert case_files(CHECKOUT, slug) != []


@pytest.fixture(scope="module")
def message() -> CompiledMessage:
    return compile_message(load(CHECKOUT, "autumn-thanks"), project=CHECKOUT)


@pytest.mark.parametrize(
    ("expect", "told"),
    [
        ({"subject": "Another"}, "subject is 'Ada, thank you for this autumn', not 'Another'"),
        ({"contains": ["in no letter"]}, "HTML lacks 'in no letter'"),
        ({"lacks": ["Thank you, Ada"]}, "HTML contains 'Thank you, Ada'"),
        (
            {"links": ["https://shop.example/winter-paper"]},
            "links nothing leads to https://shop.example/winter-paper."
            " Did you mean 'https://shop.example/winter-papers'?",
        ),
        ({"refused": "address"}, "refused a message was made"),
    ],
)
def test_what_does_not_hold_is_told(message: CompiledMessage, expect: dict[str, object], told: str):
    case = Case.model_validate(
        {
            "description": "x",
            "contact": {"first_name": "Ada"},
            "variant": "thanks",
            "expect": expect,
        }
    )

    found = [f"{each.where} {each.what}" for each in outcome(message, case)]

    assert told in found


def test_a_variant_that_is_none_is_told(message: CompiledMessage):
    case = Case.model_validate({"description": "x", "variant": "thank", "expect": {}})

    [problem] = outcome(message, case)

    assert problem.what == "'thank' is none of this campaign. Did you mean 'thanks'?"


def test_a_case_that_is_none_is_told_with_everything_that_is_wrong(tmp_path: Path):
    path = tmp_path / "odd.yaml"
    path.write_text("expct: {}\nvariant: [1]\n")

    with pytest.raises(TemplateInvalid) as told:
        read_case(path)

    assert {each.where for each in told.value.problems} == {
        "description",
        "expect",
        "expct",
        "variant",
    }
