"""Write the preview of one campaign: what was approved, or what the folder holds now.

Knows where message, contacts and audience are kept. Chooses three contacts of the audience; before
there is one, three of all contacts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import polars as pl

from pipelines.campaigns.bundle import load_current
from pipelines.campaigns.campaign import Campaign, campaign_key, load, slug_of
from pipelines.campaigns.sources import changed_since
from pipelines.errors import SendHeld
from pipelines.lake import Lake
from pipelines.message.browser import BrowserFailed
from pipelines.message.compile import compile_message
from pipelines.message.compiled import CompiledMessage
from pipelines.message.fill import Recipient, recipient_of
from pipelines.message.lint.rules import Finding, findings
from pipelines.message.lint.size import sent_bytes
from pipelines.message.preview import PEOPLE, About, Shot, Variant, preview_page, variants_of
from pipelines.message.screenshots import photographed
from pipelines.settings import Home

# How many contacts are looked at for three who have a name.
LOOKED_AT = 500


@dataclass(frozen=True)
class Desk:
    """What a preview is made from, and where it goes."""

    lake: Lake
    home: Home
    project: Path
    public_url: str


@dataclass(frozen=True)
class Preview:
    """A preview that was written, and what was found on the way."""

    path: Path
    findings: tuple[Finding, ...]
    samples: int
    is_approved: bool
    shots: int = 0
    # Why there are no screenshots though they were asked for.
    unshot: str = ""


def write_preview(key: str, desk: Desk, *, now: datetime, browser: Path | None = None) -> Preview:
    """Write `previews/<key>.html`. Raises TemplateInvalid, CampaignInvalid or SendHeld.

    browser  a Chromium that takes screenshots into `previews/<key>/`; none are taken without one
    """
    campaign, message, status = _approved_or_current(campaign_key(key), desk)
    found = findings(message, public_url=desk.public_url, allowed=campaign.lint.allow)
    audience = _audience(desk.lake, key)
    samples = _samples(desk.lake, audience, campaign, now=now)
    about = About(
        title=key,
        made_at=now,
        description=campaign.description,
        facts={**_facts(campaign, message, desk.public_url), "Status": status},
        counts=_counts(audience),
        findings=found,
        shares={each.name: f"{each.share:.0%} of those mailed" for each in campaign.variants},
    )
    variants = variants_of(message, samples, public_url=desk.public_url)
    path = desk.home.previews / f"{key}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    shots, unshot = _shots(variants, browser, path.with_suffix(""))
    page = preview_page(variants, about, sender=message.sender_name, shots=shots)
    path.write_text(page, encoding="utf-8")
    is_approved = status != "draft"
    return Preview(path, tuple(found), len(samples), is_approved, len(shots), unshot)


def _shots(
    variants: Sequence[Variant], browser: Path | None, folder: Path
) -> tuple[list[Shot], str]:
    """Screenshots in their folder, or why there are none: the page is written all the same."""
    if browser is None:
        return [], ""
    try:
        shots = photographed(variants, browser)
    except BrowserFailed as failed:
        return [], str(failed)
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    for shot in shots:
        (folder / shot.name).write_bytes(shot.png)
    return shots, ""


def _approved_or_current(key: str, desk: Desk) -> tuple[Campaign, CompiledMessage, str]:
    bundle = load_current(key, desk.home.approvals)
    if bundle is None:
        campaign = load(desk.project, slug_of(key))
        return campaign, compile_message(campaign, project=desk.project), "draft"
    changed = changed_since(bundle, desk.project)
    status = f"approved; {len(changed)} files changed since" if changed else "approved"
    return bundle.campaign, CompiledMessage.model_validate(bundle.message), status


def sampled(
    key: str, desk: Desk, *, now: datetime, contact: int | None = None
) -> tuple[Campaign, CompiledMessage, Recipient]:
    """A campaign as its files are now, and one contact to fill it for: the first of its audience, or of
    all, unless one is named. Raises CampaignInvalid, TemplateInvalid, and SendHeld without any contact.
    """
    campaign = load(desk.project, slug_of(campaign_key(key)))
    message = compile_message(campaign, project=desk.project)
    return campaign, message, somebody(key, desk.lake, campaign, message, now=now, contact=contact)


def somebody(
    key: str,
    lake: Lake,
    campaign: Campaign,
    message: CompiledMessage,
    *,
    now: datetime,
    contact: int | None = None,
) -> Recipient:
    """One contact to fill a message for that somebody else gets. Raises SendHeld without any."""
    audience = _audience(lake, key)
    if contact is None:
        found = _samples(lake, audience, campaign, now=now)
    else:
        rows = lake.read("core.contacts").filter(pl.col("contact_id") == contact).lazy()
        extras = audience.lazy().select("contact_id", "fields")
        row = rows.join(extras, on="contact_id", how="left").collect()
        found = [
            recipient_of(each, variant=campaign.variants[0].name, date=now)
            for each in row.iter_rows(named=True)
        ]
    if not found:
        told = "there is no contact yet" if contact is None else f"there is no contact {contact}"
        raise SendHeld(told, do="Load contacts first: lettermill source load, or name another")
    # Nobody's own code goes into a test, and before an audience is frozen nobody has one.
    fields = {**found[0].fields, **message.samples}
    return replace(found[0], fields=fields)


def _audience(lake: Lake, key: str) -> pl.DataFrame:
    audience = lake.read("campaigns.audience").filter(pl.col("campaign") == key)
    return audience.select("contact_id", "decision", "reason", "fields").collect()


def _samples(
    lake: Lake, audience: pl.DataFrame, campaign: Campaign, *, now: datetime
) -> list[Recipient]:
    contacts = lake.read("core.contacts").sort("contact_id")
    mailed = audience.filter(pl.col("decision") == "mail").sort("contact_id").head(LOOKED_AT)
    if mailed.is_empty():
        chosen = contacts.head(LOOKED_AT).with_columns(fields=pl.lit("{}"))
    else:
        chosen = contacts.join(mailed.lazy().select("contact_id", "fields"), on="contact_id")
    named = chosen.sort(pl.col("first_name").is_null(), "contact_id").head(PEOPLE).collect()
    variant = campaign.variants[0].name
    return [recipient_of(row, variant=variant, date=now) for row in named.iter_rows(named=True)]


def _counts(audience: pl.DataFrame) -> dict[str, int]:
    if audience.is_empty():
        return {}
    decided = dict(audience.group_by("decision").len().iter_rows())
    reasons = audience.filter(pl.col("decision") == "excluded").group_by("reason").len()
    worded = {
        f"Left out: {str(reason).replace('_', ' ')}": count
        for reason, count in reasons.sort("len", descending=True).iter_rows()
    }
    mailed = {"To mail": decided.get("mail", 0), "Held out": decided.get("hold_out", 0)}
    return {**mailed, **worded}


def _facts(campaign: Campaign, message: CompiledMessage, public_url: str) -> dict[str, str]:
    when = f"{campaign.send_at:%Y-%m-%d %H:%M}, {campaign.time_zone}" if campaign.send_at else ""
    return {
        "From": message.sender_name,
        "Subscribed topic": message.list_name,
        "Goes out": when.replace("recipient", "each recipient's own time") or "once approved",
        "Segments": ", ".join(campaign.audience.include),
        "Left out": ", ".join(campaign.audience.exclude) or "no segment",
        "Held out": f"{campaign.hold_out:.0%}",
        "Links": str(len(message.links)),
        "HTML as sent": f"{sent_bytes(message, public_url) / 1000:.0f} kB",
        "Report goes to": campaign.owner,
    }
