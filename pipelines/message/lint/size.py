"""How many bytes of HTML one person is sent: click addresses, pixel, preheader and values in it."""

from __future__ import annotations

from collections import defaultdict

from jinja2.exceptions import TemplateError

from pipelines.errors import Refused
from pipelines.message.check import SAMPLE
from pipelines.message.compiled import CompiledMessage
from pipelines.message.fill import Filler, made_up

# As long as an edge's address is; lint of an approval knows no settings.
USUAL_URL = "https://click.mail-of-the-shop.example"


def sent_bytes(compiled: CompiledMessage, public_url: str | None = None) -> int:
    """Bytes of the HTML as a sample person gets it, tracked, before transfer encoding: the longest of the
    variants. As it is compiled where no sample can be made, which check.py tells.
    """
    slug = compiled.feedback_id.partition(":")[0]
    fields = {**SAMPLE, "attributes": defaultdict(str), **compiled.samples}
    try:
        filler = Filler(
            compiled, public_url=public_url or USUAL_URL, campaign=slug, link_key=b"size"
        )
        made = [filler.fill(made_up(each, fields, is_tracked=True)) for each in compiled.subjects]
    except (Refused, TemplateError, RecursionError):
        return len(compiled.html.encode("utf-8", "replace"))
    return max(len(each.html.encode("utf-8", "replace")) for each in made)
