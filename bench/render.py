"""Fill, encode and compose a promotion for one person after another, on one core.

Ten kilobytes of HTML, six personal fields, a loop over five products, ten tracked links, a text part.
References of the same run: Jinja's own `render` of the same templates, without a message around them;
and how fast OpenSSL signs with RSA-2048, which bounds every signed message.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from bench.figure import Figure
from pipelines.campaigns.campaign import load
from pipelines.message.compile import compile_message
from pipelines.message.compiled import CompiledMessage
from pipelines.message.dkim import DkimKey, Signer
from pipelines.message.fill import Filler, Recipient
from pipelines.settings import CHECKOUT

BENCH, SLUG = "render", "promotion"
TEMPLATE = Path(__file__).parent / "render"
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
KEY = b"k" * 32
PEOPLE = {"tiny": 200, "small": 4_000, "full": 1_000_000}
ROUNDS = 5
NAMES = ("Ada", "Bert", "Cléo", "Dora", "Émile", "Fanny", "Gül", "Hugo")
PRODUCTS = tuple(
    {"name": f"Fern green no. {n}", "category": "paper", "sheets": 20, "price": f"€{n + 9}.50"}
    for n in range(12)
)


def figures(scale: str) -> Iterator[Figure]:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    message = _compiled()
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    key = DkimKey("mill.example", "bench", private)
    plain, signing = _filler(message, None), _filler(message, Signer([key]))
    people = [_person(number) for number in range(min(PEOPLE[scale], 1_000))]

    size = len(plain.write(people[0]).raw)
    sides = {
        "ours": lambda: _each(plain.write, people),
        "jinja": lambda: _each(_bare(plain), people),
        "signed": lambda: _each(signing.write, people),
        "rsa": lambda: _each(lambda _: key.signature(b"x" * 800), people),
    }
    taken = _medians(sides)
    yield Figure(BENCH, "message_bytes", size, "bytes")
    yield Figure(BENCH, "unsigned_per_second", 1 / taken["ours"], "/s")
    yield Figure(BENCH, "unsigned_time_vs_jinja", taken["ours"] / taken["jinja"], "×")
    yield Figure(BENCH, "signed_per_second", 1 / taken["signed"], "/s")
    yield Figure(BENCH, "rsa_per_second", 1 / taken["rsa"], "/s")
    limit = taken["ours"] + taken["rsa"]
    yield Figure(BENCH, "signed_vs_limit", limit / taken["signed"], "×")
    yield from _memory(plain, PEOPLE[scale])


def _medians(sides: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Seconds for one person, the median of rounds in which the sides take turns."""
    rounds = [{name: side() for name, side in sides.items()} for _ in range(ROUNDS + 1)][1:]
    return {name: statistics.median(each[name] for each in rounds) for name in sides}


def _each(work: Callable[[Recipient], object], people: list[Recipient]) -> float:
    started = time.perf_counter()
    for person in people:
        work(person)
    return (time.perf_counter() - started) / len(people)


def _memory(filler: Filler, messages: int) -> Iterator[Figure]:
    """Peak memory after a tenth of the messages and after all: flat when both are the same."""
    for number in range(messages // 10):
        filler.write(_person(number))
    early = _peak_mb()
    for number in range(messages // 10, messages):
        filler.write(_person(number))
    yield Figure(BENCH, "peak_memory", _peak_mb(), "MB", "after a tenth", early)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def _bare(filler: Filler) -> Callable[[Recipient], object]:
    """Jinja alone: the same templates with the same values, already signed links among them."""
    language = filler._first
    templates = language.templates["a", True]
    parts = [templates.subject, templates.preheader, templates.html, templates.text]
    values = filler._values(language, _person(0))
    values["_preheader"] = "Chosen for you"

    def render(person: Recipient) -> list[str]:
        given = {**values, **person.fields}
        return [part.render(given) for part in parts]

    return render


def _filler(message: CompiledMessage, signer: Signer | None) -> Filler:
    return Filler(
        message, public_url="https://edge.mill.example", campaign=SLUG, link_key=KEY, signer=signer
    )


def _person(number: int) -> Recipient:
    first = number % len(PRODUCTS)
    fields = {
        "first_name": NAMES[number % len(NAMES)],
        "last_name": f"Archer {number}",
        "city": "Millbridge",
        "product": "fern green",
        "units": number % 90,
        "points": number % 500,
        "products": [PRODUCTS[(first + place) % len(PRODUCTS)] for place in range(5)],
    }
    return Recipient(number, f"p{number}@shop.example", "a", True, NOON, fields)


def _compiled() -> CompiledMessage:
    """The template compiled in a project of its own, with the checkout's blocks and brand."""
    with tempfile.TemporaryDirectory(prefix="lettermill-bench-") as name:
        project = Path(name)
        shutil.copytree(CHECKOUT / "assets/templates", project / "assets/templates")
        shutil.copy(CHECKOUT / "assets/topics.yaml", project / "assets/topics.yaml")
        shutil.copytree(TEMPLATE, project / "assets/campaigns" / SLUG)
        return compile_message(load(project, SLUG), project=project)
