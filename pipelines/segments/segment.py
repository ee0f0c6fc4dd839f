"""A segment is one SQL file: a header in a comment, then one SELECT.

Knows how to read such a file, what it depends on and what is wrong with it; runs nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import duckdb
import sqlglot
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlglot import exp
from sqlglot.errors import SqlglotError

from pipelines.errors import Problem, SegmentInvalid, did_you_mean
from pipelines.schema import TABLES
from pipelines.segments.volatile import volatile

FOLDER = Path("sql/segments")
HEADER = re.compile(r"\s*/\*(?P<yaml>.*?)\*/", re.DOTALL)
PARAMETER = "as_of"
LAYERS = ("core", "segments", "campaigns", "marts")


class Status(StrEnum):
    DRAFT = "draft"
    LIVE = "live"
    DEPRECATED = "deprecated"


class Header(BaseModel):
    """What the comment at the top of a segment says about it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: Annotated[str, Field(min_length=10)]
    owner: Annotated[str, Field(pattern=r"^(team:\S+|[^@\s]+@[^@\s]+)$")]
    grain: str = "one row per contact"
    status: Status = Status.LIVE
    replaced_by: str | None = None
    refresh: Annotated[str, Field(pattern=r"^(hourly|daily|weekly|on_change)$")] = "daily"
    checks: dict[str, Any] = {}


@dataclass(frozen=True)
class Segment:
    """One readable segment. `inputs` are the tables it reads, as `layer.table`."""

    name: str
    sql: str
    header: Header
    path: Path
    inputs: tuple[str, ...]
    uses_as_of: bool
    code_version: str


def discover(project: Path) -> dict[str, Segment | SegmentInvalid]:
    """Every segment file of a project by name; one that cannot be read is the error it raised."""
    found: dict[str, Segment | SegmentInvalid] = {}
    for path in sorted((project / FOLDER).glob("*.sql")):
        try:
            found[path.stem] = read(path)
        except SegmentInvalid as invalid:
            found[path.stem] = invalid
    return found


def load(project: Path, name: str) -> Segment:
    """One segment by name. Raises SegmentInvalid, with the name that may have been meant."""
    path = project / FOLDER / f"{name}.sql"
    if not path.is_file():
        near = did_you_mean(name, (other.stem for other in path.parent.glob("*.sql")))
        do = "See which there are: lettermill segment list"
        raise SegmentInvalid(f"there is no segment '{name}'.{near}", do=do)
    return read(path)


def read(path: Path) -> Segment:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SegmentInvalid(f"{path} cannot be read", [Problem(str(path), str(error))]) from None
    return parse(path.stem, text, path)


def parse(name: str, text: str, path: Path) -> Segment:
    """Read one segment from its text. Raises SegmentInvalid with every problem found."""
    problems: list[Problem] = []
    header, body_line, body = _header(text, problems)
    select = _select(body, body_line, problems)
    inputs = _inputs(select, problems) if select is not None else ()
    problems += volatile(select, body) if select is not None else []
    if problems or header is None or select is None:
        count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
        do = f"Mend the file, then run: lettermill segment check {name}"
        raise SegmentInvalid(f"{path} has {count}", problems, do=do)
    normal = select.sql(dialect="duckdb", comments=False, normalize=True)
    return Segment(
        name=name,
        sql=body.strip().rstrip(";").strip(),
        header=header,
        path=path,
        inputs=inputs,
        uses_as_of=PARAMETER in duckdb.extract_statements(body)[0].named_parameters,
        code_version=hashlib.sha256(normal.encode()).hexdigest()[:16],
    )


def _header(text: str, problems: list[Problem]) -> tuple[Header | None, int, str]:
    """The header, the line on which the SQL begins, and the SQL."""
    match = HEADER.match(text)
    if match is None:
        problems.append(Problem("line 1", "begins without a header: /* description: … */"))
        return None, 1, text
    line = text[: match.end()].count("\n") + 1
    try:
        values = yaml.safe_load(match["yaml"])
        header = Header.model_validate(values if isinstance(values, dict) else {})
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f"line {mark.line + 1}" if mark else "header"
        problems.append(Problem(at, f"the header is not YAML: {getattr(error, 'problem', '')}"))
        return None, line, text[match.end() :]
    except ValidationError as invalid:
        problems += [_header_problem(dict(error)) for error in invalid.errors()]
        return None, line, text[match.end() :]
    return header, line, text[match.end() :]


def _header_problem(error: dict[str, Any]) -> Problem:
    field = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return Problem(field, f"is not known.{did_you_mean(field, Header.model_fields)}")
    if error["type"] == "missing":
        return Problem(field, "is missing from the header")
    return Problem(field, str(error["msg"]))


def _select(body: str, first_line: int, problems: list[Problem]) -> exp.Query | None:
    """The one SELECT of the file. sqlglot and DuckDB must agree that it is one."""
    try:
        # `$as_of` is a parameter to both; sqlglot reads it as one in DuckDB's dialect.
        statements = [each for each in sqlglot.parse(body, dialect="duckdb") if each is not None]
    except SqlglotError as error:
        details = getattr(error, "errors", [{}])
        found = details[0] if details else {}
        line = first_line + int(found.get("line") or 1) - 1
        problems.append(Problem(f"line {line}", str(found.get("description") or "is not SQL")))
        return None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        told = "holds no statement" if not statements else f"holds {len(statements)} statements"
        if len(statements) == 1:
            told = f"is {type(statements[0]).__name__.upper()}, not a SELECT"
        problems.append(Problem(f"line {first_line}", f"{told}; a segment is exactly one SELECT"))
        return None
    try:
        seen = duckdb.extract_statements(body)
    except duckdb.Error as error:
        problems.append(Problem("SQL", str(error).splitlines()[0]))
        return None
    if len(seen) != 1 or seen[0].type != duckdb.StatementType.SELECT:
        problems.append(Problem(f"line {first_line}", "DuckDB does not read it as one SELECT"))
        return None
    strange = sorted(set(seen[0].named_parameters) - {PARAMETER})
    problems += [Problem(f"${name}", "is not a parameter; there is $as_of") for name in strange]
    return statements[0]


def _inputs(select: exp.Query, problems: list[Problem]) -> tuple[str, ...]:
    """The tables it reads, without its own CTEs; anything else that is read from is a problem."""
    own = {cte.alias_or_name for cte in select.find_all(exp.CTE)}
    names: set[str] = set()
    for table in select.find_all(exp.Table):
        if isinstance(table.this, exp.Func) or not isinstance(table.this, exp.Identifier):
            told = "is a table function; a segment reads tables of the lake only"
            problems.append(Problem(table.sql(dialect="duckdb"), told))
        elif not table.db and table.name in own:
            continue
        elif table.catalog or table.db not in LAYERS or not re.fullmatch(r"\w+", table.name):
            names_known = _known()
            told = f"is not a table of the lake.{did_you_mean(_full(table), names_known)}"
            problems.append(Problem(_full(table), told))
        else:
            names.add(f"{table.db}.{table.name}")
    problems += _unknown(names)
    return tuple(sorted(names))


def _unknown(names: Iterable[str]) -> list[Problem]:
    known = _known()
    return [
        Problem(name, f"is not a table of the lake.{did_you_mean(name, known)}")
        for name in sorted(names)
        if name not in known and not name.startswith(("segments.", "marts."))
    ]


def _known() -> list[str]:
    return sorted(TABLES)


def _full(table: exp.Table) -> str:
    return ".".join(part for part in (table.catalog, table.db, table.name) if part)
