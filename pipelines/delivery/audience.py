"""Decide who may receive a campaign, and say why for everyone else.

Pure and set-based: takes frames, returns one frame with a decision for every candidate. Evaluating the
segments is approval.py's job, sending the sender's, storage the ledger's and the lake's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import accumulate

import polars as pl

from pipelines.campaigns.campaign import Campaign
from pipelines.contacts.address import hash_series
from pipelines.delivery.send_times import is_skipped, send_times
from pipelines.lake import Lake
from pipelines.schema import AUDIENCE, UTC_TIME

SEGMENTS = "segments"  # the list of those the message asks for
MARKETING, TRACKING = "marketing", "tracking"
DENOMINATOR = 2**32


class Decision(StrEnum):
    MAIL = "mail"
    HOLD_OUT = "hold_out"
    EXCLUDED = "excluded"


class Why(StrEnum):
    """Why a candidate gets no mail; the first that holds is given, in this order."""

    NO_ADDRESS = "no_address"
    NOT_IN_WHERE = "not_in_where"
    SUPPRESSED = "suppressed"
    NO_CONSENT = "no_consent"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    TIME_PASSED = "time_passed"
    MAILED_RECENTLY = "mailed_recently"
    DUPLICATE_ADDRESS = "duplicate_address"
    OVER_LIMIT = "over_limit"


@dataclass(frozen=True)
class People:
    """What decides about people.

    contacts      core.contacts
    consents      core.consents
    suppressed    address hashes that mail of the campaign's topic and brand must not reach
    suppressed_contacts  contact ids of decisions whose address was not at hand
    no_tracking   contact ids that took their tracking consent back
    mailed        contact ids that `once_per` leaves out now
    """

    contacts: pl.LazyFrame
    consents: pl.LazyFrame
    suppressed: set[str]
    suppressed_contacts: set[int]
    no_tracking: set[int]
    mailed: set[int]


@dataclass(frozen=True)
class Keys:
    """The home's secrets that decide hashes: of addresses, and of who gets which variant."""

    addresses: bytes
    variants: bytes


def plan(
    campaign: Campaign,
    candidates: pl.DataFrame,
    people: People,
    *,
    keys: Keys,
    now: datetime,
    approved_at: datetime | None = None,
) -> pl.DataFrame:
    """One row per candidate, in the shape of campaigns.audience without campaign and bundle.

    candidates   one row per member of the audience expression: contact_id, then segment columns
    approved_at  when the campaign was approved; now, for one that is not yet
    """
    since = campaign.as_of or approved_at or now
    # What the message may name, and nothing else: no column takes the place of what is ours.
    named = [name for name in candidates.columns if name in {*campaign.fields, SEGMENTS}]
    known = _known(candidates.select("contact_id", *named), people, keys)
    timed = known.with_columns(
        send_at=send_times(known["time_zone"], campaign, now=now, since=since)
    )
    reasons = timed.with_columns(reason=_reason(campaign, people, since))
    single = _once_per_address(reasons)
    limited = _limit(single, campaign)
    decided = _arms(limited, campaign, keys)
    return _numbered(decided, people, now).select(
        name for name in AUDIENCE.schema.names() if name not in ("campaign", "bundle")
    )


def counts(audience: pl.DataFrame) -> dict[str, int]:
    """How many per decision, and per reason for those left out."""
    decisions = audience.group_by("decision").len().rows()
    left_out = audience.filter(pl.col("decision") == Decision.EXCLUDED.value)
    reasons = left_out.group_by("reason").len().sort("len", descending=True).rows()
    return {**dict(decisions), **{f"excluded: {reason}": count for reason, count in reasons}}


def on_topic(consents: pl.LazyFrame, topic: str) -> pl.LazyFrame:
    """The decisions that concern a campaign of this topic: marketing for it or for all, and the rest."""
    concerns = pl.col("topic").is_null() | pl.col("topic").is_in(["*", topic])
    return consents.filter((pl.col("purpose") != MARKETING) | concerns)


def survivors(contacts: set[int], lake: Lake) -> set[int]:
    """These contacts, and whoever they were merged into: a decision goes with the person."""
    if not contacts:
        return contacts
    merged = lake.read("core.identities").filter(pl.col("source") == "merged")
    pairs = dict(
        pl.DataFrame(
            merged.select(pl.col("external_id").cast(pl.Int64), "contact_id").collect()
        ).rows()
    )
    found = set(contacts)
    for contact in contacts:
        while (into := pairs.get(contact)) is not None and into not in found:
            found.add(into)
            contact = into
    return found


def no_longer_agreed(consents: pl.LazyFrame, mailed: pl.LazyFrame) -> set[int]:
    """Of those to be mailed (contact_id), whose newest decision on the campaign's topic is no."""
    latest = _latest(consents, MARKETING, "marketing")
    left = mailed.select("contact_id").join(latest, on="contact_id", how="left")
    asked = left.filter(pl.col("marketing").fill_null("none") != "granted").collect()
    return set(pl.DataFrame(asked)["contact_id"].to_list())


def _known(candidates: pl.DataFrame, people: People, keys: Keys) -> pl.DataFrame:
    """Candidates with their contact's fields, consents and address hash."""
    extras = [name for name in candidates.columns if name not in ("contact_id", "as_of")]
    fields = pl.struct(extras).struct.json_encode() if extras else pl.lit("{}")
    rows = candidates.lazy().select(pl.col("contact_id").cast(pl.Int64), fields.alias("fields"))
    joined = (
        rows.join(people.contacts, on="contact_id", how="left")
        .join(_latest(people.consents, MARKETING, "marketing"), on="contact_id", how="left")
        .join(_latest(people.consents, TRACKING, "tracking"), on="contact_id", how="left")
        .sort("contact_id")
        .collect()
    )
    frame = pl.DataFrame(joined)
    hashes = hash_series(frame["address_normalised"], keys.addresses).alias("address_hash")
    return frame.with_columns(hashes)


def _latest(consents: pl.LazyFrame, purpose: str, name: str) -> pl.LazyFrame:
    """The newest decision of each contact for a purpose; of two at one time the withdrawal counts."""
    order = pl.col("status") == "withdrawn"
    return (
        consents.filter(pl.col("purpose") == purpose)
        .sort("recorded_at", order, nulls_last=False)
        .group_by("contact_id", maintain_order=True)
        .agg(pl.col("status").last().alias(name))
    )


def _reason(campaign: Campaign, people: People, since: datetime) -> pl.Expr:
    suppressed = pl.col("address_hash").is_in(list(people.suppressed)) | pl.col("contact_id").is_in(
        list(people.suppressed_contacts)
    )
    rules: list[tuple[Why, pl.Expr]] = [
        (Why.NO_ADDRESS, pl.col("address_normalised").is_null()),
        (Why.NOT_IN_WHERE, ~_where(campaign.audience.where)),
        (Why.SUPPRESSED, suppressed),
        (Why.NO_CONSENT, pl.col("marketing").is_null()),
        (Why.CONSENT_WITHDRAWN, pl.col("marketing") != "granted"),
        (Why.TIME_PASSED, is_skipped(pl.col("send_at"), campaign, since=since)),
        (Why.MAILED_RECENTLY, pl.col("contact_id").is_in(list(people.mailed))),
    ]
    reason = pl.lit(None, dtype=pl.String)
    for why, holds in reversed(rules):
        reason = pl.when(holds).then(pl.lit(why.value)).otherwise(reason)
    return reason


def _where(where: Mapping[str, str | list[str]]) -> pl.Expr:
    fits = pl.lit(value=True)
    for field, wanted in where.items():
        values = [wanted] if isinstance(wanted, str) else wanted
        fits &= _field(field).is_in(values).fill_null(value=False)
    return fits


def _field(name: str) -> pl.Expr:
    """A column of the contact, or `attributes.<name>`: one of what else its source maps."""
    attribute = name.removeprefix("attributes.")
    if attribute == name:
        return pl.col(name)
    return pl.col("attributes").str.json_path_match(f"$['{attribute}']")


def _once_per_address(rows: pl.DataFrame) -> pl.DataFrame:
    """Of several contacts with one address only the oldest contact is mailed."""
    free = pl.col("reason").is_null()
    again = free & (
        pl.col("contact_id") != pl.col("contact_id").filter(free).min().over("address_hash")
    )
    twice = pl.lit(Why.DUPLICATE_ADDRESS.value)
    return rows.with_columns(reason=pl.when(again).then(twice).otherwise("reason"))


def _limit(rows: pl.DataFrame, campaign: Campaign) -> pl.DataFrame:
    if campaign.audience.limit is None:
        return rows
    free = pl.col("reason").is_null()
    over = free & (free.cum_sum() > campaign.audience.limit)
    return rows.with_columns(
        reason=pl.when(over).then(pl.lit(Why.OVER_LIMIT.value)).otherwise("reason")
    )


def _arms(rows: pl.DataFrame, campaign: Campaign, keys: Keys) -> pl.DataFrame:
    """Hold-out and variant by two stable hashes, so that every plan of a campaign agrees."""
    names = pl.Series(
        "names", [str(each) for each in rows["contact_id"].to_list()], dtype=pl.String
    )
    held = _uniform(names, f"{campaign.slug}/hold-out", keys.variants)
    drawn = _uniform(names, f"{campaign.slug}/variant", keys.variants)
    mailed = pl.col("reason").is_null()
    hold = mailed & (held < campaign.hold_out)
    return rows.with_columns(
        decision=pl.when(hold)
        .then(pl.lit(Decision.HOLD_OUT.value))
        .when(mailed)
        .then(pl.lit(Decision.MAIL.value))
        .otherwise(pl.lit(Decision.EXCLUDED.value)),
        variant=pl.when(mailed & ~hold).then(_variant(drawn, campaign)),
        reason=pl.when(hold).then(pl.lit(Decision.HOLD_OUT.value)).otherwise("reason"),
    )


def _uniform(names: pl.Series, purpose: str, key: bytes) -> pl.Series:
    """A number in [0, 1) for each name: the first 32 bits of its keyed hash."""
    hashed = hash_series(pl.Series([f"{purpose}/{name}" for name in names], dtype=pl.String), key)
    return hashed.str.slice(0, 8).str.to_integer(base=16) / DENOMINATOR


def _variant(drawn: pl.Series, campaign: Campaign) -> pl.Expr:
    chosen = pl.lit(campaign.variants[-1].name)
    edges = accumulate(variant.share for variant in campaign.variants)
    for variant, edge in reversed(list(zip(campaign.variants, edges, strict=True))[:-1]):
        chosen = pl.when(pl.lit(drawn) < edge).then(pl.lit(variant.name)).otherwise(chosen)
    return chosen


def _numbered(rows: pl.DataFrame, people: People, now: datetime) -> pl.DataFrame:
    mailed = pl.col("decision") == Decision.MAIL.value
    return rows.with_columns(
        recipient=pl.when(mailed).then(mailed.cum_sum().cast(pl.Int64) - 1),
        planned_at=pl.lit(now).cast(UTC_TIME),
        is_tracked=(pl.col("tracking") == "granted").fill_null(value=False)
        & ~pl.col("contact_id").is_in(list(people.no_tracking)),
    )
