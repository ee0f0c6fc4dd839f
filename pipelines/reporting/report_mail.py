"""The report as an e-mail to the campaign's owner: the page's words, with its charts as pictures.

Two editions, each mailed once: `first` when everybody has been sent or given up on, `final` when
orders no longer count. Who is killed between the relay's 250 and the note of it mails an owner the
same Message-ID twice; that is better than a report nobody got.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from email.utils import format_datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

import css_inline
import polars as pl

from pipelines.delivery.lock import CampaignLock
from pipelines.delivery.single import hand_over, permitted
from pipelines.delivery.states import TO_RESEND, State
from pipelines.lake import Lake
from pipelines.message.dkim_keys import signer_for
from pipelines.message.headers import encode_text, envelope_address, mailbox, one_line
from pipelines.message.mime import Composed, Inline, compose
from pipelines.reporting import charts
from pipelines.reporting.campaign_report import UNCLAIMED, CampaignReport
from pipelines.reporting.contents import Content, Table, content
from pipelines.reporting.pages import templates
from pipelines.reporting.wording import people, percent
from pipelines.schema import LEDGER_HEADS, REPORT_MAILS
from pipelines.workspace import Workspace

TEMPLATE = "campaign_mail.html.j2"
# What a mail program shows without scrolling sideways; the pictures are twice as fine.
PICTURE = 552
SUBJECT_CHARACTERS = 120
UNFINISHED = (
    UNCLAIMED,
    State.CLAIMED.value,
    State.DEFERRED.value,
    *(each.value for each in TO_RESEND),
)


class Edition(StrEnum):
    """Which of a campaign's reports a mail is."""

    FIRST = "first"
    FINAL = "final"


@dataclass(frozen=True)
class Mailed:
    """What became of a report's mail: `why` it was not sent, or the file that holds what was."""

    edition: Edition | None
    path: Path | None
    why: str = ""


def edition(report: CampaignReport) -> Edition | None:
    """The edition a report would be now; None while nobody was sent to, or some are still to be."""
    if not report.all.sent:
        return None
    if not report.is_window_open:
        return Edition.FINAL
    is_over = not any(report.states.get(state) for state in UNFINISHED)
    return Edition.FIRST if is_over else None


def unreported(lake: Lake) -> list[str]:
    """Campaigns a send of which was started and whose final report was not mailed, by key."""
    final = lake.read(REPORT_MAILS.name).filter(pl.col("edition") == Edition.FINAL)
    begun = lake.read(LEDGER_HEADS.name).select("campaign").unique()
    left = begun.join(final, on="campaign", how="anti").sort("campaign").collect()
    return list(pl.DataFrame(left)["campaign"])


def mail_report(report: CampaignReport, workspace: Workspace) -> Mailed:
    """Mail the report to its owner, unless this edition was. Raises SendHeld, RelayUnavailable."""
    which = edition(report)
    if which is None:
        return Mailed(None, None, "the send is not over")
    lock = CampaignLock(workspace.home.reports / f"{report.key}.mail.lock")
    try:
        return _mail_once(which, report, workspace)
    finally:
        lock.release()


def _mail_once(which: Edition, report: CampaignReport, workspace: Workspace) -> Mailed:
    mailed = workspace.lake.read(REPORT_MAILS.name).filter(
        pl.col("campaign") == report.key, pl.col("edition").is_in([which, Edition.FINAL])
    )
    if mailed.select(pl.len()).collect().item():
        return Mailed(which, None, "this edition was mailed before")
    owner = report.bundle.campaign.owner
    target = permitted(owner, workspace)
    if target is None:
        return Mailed(which, None, "the owner is not on the allowlist")
    name = message_id(report, which, workspace.home.identity().home_id)
    sender = report.bundle.brand.sender_address
    signer = signer_for(report.bundle.brand, workspace.home.keys)
    composed = message(report, which, name)
    raw = signer.signed(composed, report.made_at) if signer else composed.raw()
    brand = report.bundle.brand.name
    hand_over([raw], sender=sender, target=target, brand=brand, workspace=workspace)
    note = {
        "campaign": report.key,
        "edition": which.value,
        "message_id": name,
        "mailed_at": workspace.clock.now(),
    }
    workspace.lake.append(REPORT_MAILS, pl.DataFrame([note], schema=REPORT_MAILS.schema))
    path = workspace.home.reports / f"{report.key}.{which}.eml"
    path.write_bytes(raw)
    return Mailed(which, path)


def message_id(report: CampaignReport, which: Edition, home_id: str) -> str:
    """The same for the same campaign, edition and home, so that a repeat is known as one."""
    tag = sha256(f"{home_id}\0{report.key}\0{which}".encode()).hexdigest()[:24]
    return f"<report.{tag}@{report.bundle.brand.sender_address.rpartition('@')[2]}>"


def message(report: CampaignReport, which: Edition, name: str) -> Composed:
    """The whole mail: plain text, HTML, and one PNG for each chart."""
    brand, shown = report.bundle.brand, content(report)
    headers = [
        ("From", mailbox(brand.sender_name, brand.sender_address, header="From")),
        ("To", envelope_address(report.bundle.campaign.owner)),
        ("Subject", encode_text("Subject", one_line(subject(report, which), SUBJECT_CHARACTERS))),
        ("Date", format_datetime(report.made_at.astimezone(UTC))),
        ("Message-ID", name),
        ("Auto-Submitted", "auto-generated"),
    ]
    pictures = [
        Inline(f"{part.name}@report", charts.png(part.draw(PICTURE)))
        for part in shown.parts
        if part.draw
    ]
    return compose(headers, text(shown), html(shown, which), pictures)


def subject(report: CampaignReport, which: Edition) -> str:
    """`autumn-thanks: 19,590 people got it, 34.5 % opened`."""
    everyone = report.all
    said = f"{report.key}: {people(everyone.delivered)} got it"
    if everyone.tracked:
        said += f", {percent(everyone.opened / everyone.tracked)} opened"
    return said if which is Edition.FIRST else f"{said} · final report"


def html(shown: Content, which: Edition) -> str:
    """The mail's HTML; its pictures are `cid:<part>@report`."""
    made = templates().get_template(TEMPLATE).render(page=shown, edition=which.value)
    inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_style_tags=True)
    return str(inliner.inline(made))


def text(shown: Content) -> str:
    """The report without pictures: every figure, the tables in columns."""
    parts = [
        shown.title.upper(),
        shown.description,
        shown.sent_on,
        shown.headline,
        "\n".join(_figures(shown)),
    ]
    for part in shown.parts:
        body = [part.title.upper(), part.lead, *part.lines]
        parts.append("\n".join(line for line in body if line))
        parts += ["\n".join(_columns(table)) for table in part.tables]
    parts.append("\n".join(["HOW TO READ THIS", *(f"* {note}" for note in shown.notes)]))
    parts.append(f"Made {shown.made_at}. Ranges are 95 % intervals.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _figures(shown: Content) -> Iterator[str]:
    for figure in shown.figures:
        yield f"{figure.name:<14}{figure.value:>10}   {figure.note}"


def _columns(table: Table) -> Iterator[str]:
    rows = [table.columns, *table.rows]
    widths = [max(len(row[at]) for row in rows) for at in range(len(table.columns))]
    for row in rows:
        cells = [
            cell.rjust(width) if at in table.numbers else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "   ".join(cells).rstrip()
