"""Find what is wrong with a template before anybody is mailed, and say in which file and line.

Knows Jinja's errors and what names a message may use; compiles nothing itself.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from html import unescape
from typing import Any

from jinja2 import TemplateError, TemplateNotFound, TemplateSyntaxError, meta, nodes

from pipelines.campaigns.campaign import FOLDER
from pipelines.errors import Problem, Refused, did_you_mean
from pipelines.message.compiled import UNSUBSCRIBE, CompiledMessage
from pipelines.message.counting import uncounted
from pipelines.message.fill import Filler, made_up
from pipelines.message.misspelt import with_near
from pipelines.message.sandbox import MessageEnvironment, fill_environment
from pipelines.message.tags import Tags

SAMPLE = {
    "first_name": "Ada",
    "last_name": "Archer",
    "locale": "en-GB",
    "country": "GB",
    "city": "Millbridge",
    "time_zone": "Europe/London",
    "birth_on": date(1990, 4, 1),
}


# What can be wrong with a template beyond what Jinja says of it: too deep, or no text at all.
BROKEN = (SyntaxError, RecursionError, ValueError, MemoryError)
HOW_TO_HAVE = {"segments": "`segments: […]`", "coupon": "`coupon: POOL`"}


class _Anything(dict[str, Any]):
    """Attributes in which every name is found; which of them a source gives is not known here."""

    def __missing__(self, name: str) -> str:
        return ""


def compile_problem(error: Exception, body: str, names: Mapping[str, Any]) -> Problem:
    """What went wrong while blocks and layouts were put together; names are those they know."""
    if isinstance(error, TemplateSyntaxError):
        place = f"{error.filename or error.name or body}, line {error.lineno}"
        return Problem(place, with_near(str(error.message), names))
    if isinstance(error, TemplateNotFound):
        return Problem(body, f"names the template '{error.name}', which does not exist")
    if isinstance(error, SyntaxError):
        return Problem(body, "cannot be read: it is nested too deep or too long")
    if isinstance(error, RecursionError):
        error = TemplateError(
            "calls or includes itself without end, or is nested too deep"
        ).with_traceback(error.__traceback__)
    frames = [
        (frame.filename, f"{frame.filename}, line {frame.lineno}")
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.endswith((".j2", ".md"))
    ]
    told = with_near(str(error), names)
    if not frames:
        return Problem(body, told)
    # The campaign's own line is what its author can mend; a block fails for what it is given.
    own = [place for file, place in frames if file.startswith(FOLDER.as_posix())]
    within = frames[-1][1]
    place = own[-1] if own else within
    return Problem(place, told if place == within else f"{told} ({within})")


def fill_problems(
    compiled: CompiledMessage, tags: Tags, sources: Mapping[str, str]
) -> list[Problem]:
    """Syntax, unknown names, and what sample people bring to light; empty when all is well."""
    problems = list(_syntax_and_names(compiled, tags, sources))
    return problems or [*_hidden(compiled), *_samples(compiled)]


def _parts(compiled: CompiledMessage) -> Iterator[tuple[str, str, bool]]:
    for number, (variant, subject) in enumerate(compiled.subjects.items(), 1):
        yield f"campaign.yaml, variants[{number}].subject", subject, False
        preheader = compiled.preheaders.get(variant, "")
        yield f"campaign.yaml, variants[{number}].preheader", preheader, False
    yield "the body", compiled.html, True
    yield "the plain text", compiled.text, False


def _syntax_and_names(
    compiled: CompiledMessage, tags: Tags, sources: Mapping[str, str]
) -> Iterator[Problem]:
    seen: set[Problem] = set()
    for place, source, is_html in _parts(compiled):
        environment = fill_environment(autoescape=is_html)
        is_body = not place.startswith("campaign.yaml")
        try:
            tree = environment.parse(source)
            environment.compile(tree)
        except TemplateSyntaxError as error:
            problem = _located(error, environment, sources) if is_body else None
            problem = problem or Problem(place, with_near(str(error.message)))
            if problem not in seen:
                seen.add(problem)
                yield problem
            continue
        except BROKEN as error:
            yield Problem(
                place, f"cannot be read: {type(error).__name__}, it is nested too deep or too long"
            )
            continue
        unknown = meta.find_undeclared_variables(tree) - set(compiled.default_fields)
        told = {name: _unknown_name(name, compiled) for name in sorted(unknown)}
        told |= {name: _unknown_segment(name, compiled) for name in _asked(tree, compiled)}
        for name, what in told.items():
            problem = Problem((tags.place_of(name) if is_body else None) or place, what)
            if problem not in seen:
                seen.add(problem)
                yield problem


def _unknown_name(name: str, compiled: CompiledMessage) -> str:
    if name in HOW_TO_HAVE:
        return f"'{name}' is known only to a campaign with {HOW_TO_HAVE[name]}"
    near = did_you_mean(name, compiled.default_fields)
    return f"'{name}' is neither a field of a contact nor listed under fields.{near}"


def _unknown_segment(name: str, compiled: CompiledMessage) -> str:
    near = did_you_mean(name, compiled.segments)
    return f"'{name}' is not listed under segments, so nobody would be in it.{near}"


def _asked(tree: nodes.Template, compiled: CompiledMessage) -> Iterator[str]:
    """Names of `'…' in segments` that the campaign does not list: such a line would never be shown."""
    for compare in tree.find_all(nodes.Compare):
        for operand in compare.ops:
            asked = uncounted(operand.expr)
            within = asked.name if isinstance(asked, nodes.Name) else None
            wanted = compare.expr.value if isinstance(compare.expr, nodes.Const) else None
            is_asked = within == "segments" and operand.op in ("in", "notin")
            if is_asked and isinstance(wanted, str) and wanted not in compiled.segments:
                yield wanted


def _located(
    error: TemplateSyntaxError, environment: MessageEnvironment, sources: Mapping[str, str]
) -> Problem | None:
    """The same error in the file it came from: line numbers of a compiled page help nobody."""
    for file, source in sources.items():
        try:
            environment.compile(environment.parse(source))
        except TemplateSyntaxError as own:
            if own.message == error.message:
                return Problem(f"{file}, line {own.lineno}", with_near(str(own.message)))
    return None


def _samples(compiled: CompiledMessage) -> Iterator[Problem]:
    filler = Filler(compiled, public_url="https://e.example", campaign="sample", link_key=b"sample")
    empty = dict.fromkeys(SAMPLE)
    for who, fields in (("a contact with every field", SAMPLE), ("one without any", empty)):
        for variant in compiled.subjects:
            given = {**fields, "attributes": _Anything(), **compiled.samples}
            where = f"variant '{variant}' for {who}"
            try:
                filler.write(made_up(variant, given, is_tracked=True))
            except Refused as refused:
                cause = f": {refused.__cause__}" if refused.__cause__ else ""
                yield Problem(where, f"{refused}{cause}")


def _hidden(compiled: CompiledMessage) -> Iterator[Problem]:
    """What the message has and a condition or loop keeps from somebody: the way out, first of all.

    That there is none at all is lint's to say.
    """
    kept = {"unsubscribe link": UNSUBSCRIBE, "postal address": _squeezed(compiled.postal_address)}
    for place, source, is_html in list(_parts(compiled))[-2:]:
        body = fill_environment(autoescape=is_html).parse(source).body
        for name, wanted in kept.items():
            if wanted in _squeezed(source) and wanted not in _always(body, wanted):
                yield Problem(place, f"hides the {name} from some behind a condition or loop")


def _always(body: Sequence[nodes.Node], wanted: str) -> str:
    """What everybody reads of a piece of template; `wanted` where every branch of a condition has it."""
    read = []
    for node in body:
        if isinstance(node, nodes.Output):
            read += [each.data for each in node.nodes if isinstance(each, nodes.TemplateData)]
        elif isinstance(node, nodes.With):
            read.append(_always(node.body, wanted))
        elif isinstance(node, nodes.If):
            branches = [node.body, *(each.body for each in node.elif_), node.else_]
            if all(wanted in _always(branch, wanted) for branch in branches):
                read.append(wanted)
    return _squeezed("".join(read))


def _squeezed(text: str) -> str:
    """Without spaces: an address may be broken into lines."""
    return "".join(unescape(text).split())
