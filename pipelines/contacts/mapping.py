"""From raw rows to entities: every source row is accepted for what it holds, or refused.

Pure: takes frames, returns frames. Storage is ingest.py's and core.py's job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from pipelines.contacts.address import normalise_series
from pipelines.contacts.fields import Contacts, Fields, Orders
from pipelines.contacts.reading import OWN
from pipelines.contacts.rules import Defaults, Kind, Reading, read
from pipelines.contacts.source import Entity, Export, Source

KINDS = {
    **dict.fromkeys(
        ("created_at", "ordered_at", "occurred_at", "recorded_at", "since_at"), Kind.TIMESTAMP
    ),
    **dict.fromkeys(("amount", "unit_price", "price"), Kind.MONEY),
    "birth_on": Kind.DATE,
    "quantity": Kind.INTEGER,
}
ALLOWED: Mapping[Entity, Mapping[str, tuple[str, ...]]] = {
    Entity.CONSENTS: {"status": ("granted", "withdrawn"), "purpose": ("marketing", "tracking")},
    Entity.ORDERS: {"status": ("completed", "cancelled")},
}
ROW = ["load_id", "loaded_at", "row_number"]
BETWEEN_REASONS = "\x1f"
TEXTS = pl.List(pl.String)
# Where a value is kept beside the columns of an export, which must not be called the same.
VALUE = "value of {}"
REFUSED = pl.Schema(
    [
        ("entity", pl.String()),
        ("export", pl.String()),
        ("load_id", pl.String()),
        ("row_number", pl.Int64()),
        ("reasons", TEXTS),
        ("row", pl.String()),
    ]
)


@dataclass(frozen=True)
class Mapped:
    """What a source holds: accepted rows by entity, and one row per refused source row."""

    accepted: Mapping[Entity, pl.DataFrame]
    refused: pl.DataFrame

    def refused_of(self, export: str) -> pl.DataFrame:
        return self.refused.filter(pl.col("export") == export)


def map_source(source: Source, raw: Mapping[str, pl.DataFrame]) -> Mapped:
    """Map all exports of a source together, because orders must belong to one of its contacts.

    raw  export → its raw table: OWN columns, then the export's as text
    """
    judged: list[tuple[str, Entity, pl.DataFrame]] = []
    for name, rows in raw.items():
        export = source.exports[name]
        well_formed = rows.filter(pl.col("malformed").is_null())
        for entity, fields in export.entities().items():
            judged.append((name, entity, _judge(well_formed, entity, fields, source)))
    keys = [rows.filter(_fine()).select("key") for _, e, rows in judged if e is Entity.CONTACTS]
    known = pl.concat(keys).unique() if keys else pl.DataFrame(schema={"key": pl.String})
    judged = [(name, e, _require(rows, "contact", known)) for name, e, rows in judged]
    orders = [rows.filter(_fine()).select("key") for _, e, rows in judged if e is Entity.ORDERS]
    ordered = pl.concat(orders).unique() if orders else pl.DataFrame(schema={"key": pl.String})
    judged = [(name, e, _require(rows, "order", ordered)) for name, e, rows in judged]
    return Mapped(_accepted(judged), _refused(source, raw, judged))


def _fine() -> pl.Expr:
    return pl.col("reasons").is_null()


def _reasons(*problems: pl.Expr | str) -> pl.Expr:
    """All there are, as one text; null when there are none. Lists would cost thirty times as much."""
    joined = pl.concat_str(*problems, separator=BETWEEN_REASONS, ignore_nulls=True)
    return joined.replace("", None).alias("reasons")


def _judge(rows: pl.DataFrame, entity: Entity, fields: Fields, source: Source) -> pl.DataFrame:
    """ROW, the fields, and `reasons`: why the row cannot be one of these; null when it can."""
    for column, values in fields.skip.items():
        rows = rows.filter(~pl.col(column).str.strip_chars().is_in(values).fill_null(False))
    defaults = Defaults(source.time_zone, source.currency)
    readings = {
        name: read(rule, KINDS.get(name, Kind.TEXT), name, defaults)
        for name, rule in fields.rules()
    }
    rows = rows.with_columns(
        each.value.alias(VALUE.format(name)) for name, each in readings.items()
    )
    readings = {name: each.kept_in(VALUE.format(name)) for name, each in readings.items()}
    problems = _problems(entity, fields, readings)
    extra = _extra(fields, defaults, problems)
    if entity in (Entity.CONTACTS, Entity.SUPPRESSIONS):
        rows = _with_address(rows)
        problems.append(pl.col("_address_problem"))
        extra.append(pl.col("_address_normalised").alias("address_normalised"))
    if entity is Entity.SUPPRESSIONS:
        # Whoever can be told apart is suppressed: a time nobody can read is no reason to mail them.
        problems = [pl.col("_address_problem")]
    fields_read = [reading.value.alias(name) for name, reading in readings.items()]
    return rows.select(*map(pl.col, ROW), *fields_read, *extra, _reasons(*problems))


def _problems(entity: Entity, fields: Fields, readings: Mapping[str, Reading]) -> list[pl.Expr]:
    problems = [reading.problem for reading in readings.values()]
    for name, reading in readings.items():
        # Activities need map no key, but where they do every row must have it.
        required = type(fields).model_fields[name].is_required() or name == "key"
        if required and name != "address":
            problems.append(pl.when(~reading.is_given).then(pl.lit(f"{name} is missing")))
        if name in ALLOWED.get(entity, {}):
            allowed = ALLOWED[entity][name]
            odd = reading.value.is_not_null() & ~reading.value.is_in(allowed)
            problems.append(pl.when(odd).then(pl.lit(f"{name} is neither {' nor '.join(allowed)}")))
    return problems


def _extra(fields: Fields, defaults: Defaults, problems: list[pl.Expr]) -> list[pl.Expr]:
    """Columns that more than one rule makes; what is wrong with them is added to `problems`."""
    if isinstance(fields, Contacts):
        parts = {
            name: read(rule, rule.type or Kind.TEXT, f"attributes.{name}", defaults)
            for name, rule in fields.attributes.items()
        }
        problems += [part.problem for part in parts.values()]
        values = [part.value.alias(name) for name, part in parts.items()]
        return [
            (pl.struct(values).struct.json_encode() if values else pl.lit("{}")).alias("attributes")
        ]
    if isinstance(fields, Orders) and fields.cancelled_when:
        rule = fields.cancelled_when
        marked = pl.col(rule.column).str.strip_chars().str.starts_with(rule.starts_with)
        return [marked.fill_null(False).alias("is_cancelled")]
    return []


def _with_address(rows: pl.DataFrame) -> pl.DataFrame:
    found = normalise_series(rows[VALUE.format("address")])
    return rows.with_columns(
        found["address_normalised"].alias("_address_normalised"),
        found["problem"].alias("_address_problem"),
    )


def _require(rows: pl.DataFrame, column: str, known: pl.DataFrame) -> pl.DataFrame:
    """Refuse rows that point at a contact or order which was not accepted."""
    if column not in rows.columns:
        return rows
    there = known.select(pl.col("key").alias(column), pl.lit(True).alias("_there"))
    joined = rows.join(there, on=column, how="left", maintain_order="left")
    lost = pl.col("_there").is_null() & pl.col(column).is_not_null()
    reason = pl.when(lost).then(pl.lit(f"{column} is not known here"))
    return joined.with_columns(_reasons("reasons", reason)).drop("_there")


def _accepted(judged: list[tuple[str, Entity, pl.DataFrame]]) -> dict[Entity, pl.DataFrame]:
    frames: dict[Entity, list[pl.DataFrame]] = {}
    for _, entity, rows in judged:
        frames.setdefault(entity, []).append(rows.filter(_fine()).drop("reasons"))
    return {
        entity: pl.concat(parts, how="diagonal").sort(
            "loaded_at", "row_number", maintain_order=True
        )
        for entity, parts in frames.items()
    }


def _refused(
    source: Source, raw: Mapping[str, pl.DataFrame], judged: list[tuple[str, Entity, pl.DataFrame]]
) -> pl.DataFrame:
    """One row per refused source row, under the first entity that refused it, with all reasons."""
    frames = [_refused_rows(name, rows, source.exports[name], judged) for name, rows in raw.items()]
    return pl.concat([pl.DataFrame(schema=REFUSED), *frames])


def _prefixed(entity: Entity) -> pl.Expr:
    """A row may be fine as one entity and not as another: each reason says which it is about."""
    reasons = pl.col("reasons").str.split(BETWEEN_REASONS).list.unique(maintain_order=True)
    return reasons.list.eval(pl.lit(f"{entity}: ") + pl.element())


def _refused_rows(
    name: str, raw: pl.DataFrame, export: Export, judged: list[tuple[str, Entity, pl.DataFrame]]
) -> pl.DataFrame:
    entities = list(export.entities())
    parts = [
        rows.filter(~_fine()).select(
            "load_id", "row_number", pl.lit(e.value).alias("entity"), _prefixed(e)
        )
        for owner, e, rows in judged
        if owner == name
    ]
    first = entities[0].value if entities else Entity.CONTACTS.value
    malformed = raw.filter(pl.col("malformed").is_not_null()).select(
        "load_id",
        "row_number",
        pl.lit(first).alias("entity"),
        pl.concat_list(pl.lit("the line has not the columns of this file")).alias("reasons"),
    )
    merged = (
        pl.concat([*parts, malformed])
        .group_by("load_id", "row_number", maintain_order=True)
        .agg(pl.col("entity").first(), pl.col("reasons").explode().unique(maintain_order=True))
    )
    columns = [column for column in raw.columns if column not in OWN]
    row = pl.coalesce("malformed", pl.struct(columns).struct.json_encode()).alias("row")
    # Only of what was refused: spelling out every row of a large log takes longer than judging it.
    at_fault = raw.join(merged, on=["load_id", "row_number"], how="semi")
    spelled = at_fault.select("load_id", "row_number", row)
    with_row = merged.join(spelled, on=["load_id", "row_number"], how="left")
    export_name = pl.lit(name).alias("export")
    return with_row.with_columns(export_name).select(REFUSED.names()).sort("load_id", "row_number")
