"""One person's message again, as a page for their browser.

Made anew from what was approved, the frozen audience and the contact as it is now: nothing of it is
kept. Links lead straight to where they lead, and nothing is counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from pipelines.campaigns.bundle import Bundle, load
from pipelines.delivery.ledger import bundle_of
from pipelines.errors import Refused
from pipelines.lake import Lake
from pipelines.message.compiled import CompiledMessage
from pipelines.message.fill import Filler, recipient_of
from pipelines.message.pictures import shown
from pipelines.schema import AUDIENCE
from pipelines.settings import Home

KEPT = 8


@dataclass
class Viewing:
    """The pages of a home's campaigns. For one thread at a time."""

    home: Home
    public_url: str
    _fillers: dict[str, tuple[Filler, CompiledMessage]] = field(default_factory=dict)

    def page(self, bundle: Bundle, contact_id: int, *, now: datetime) -> str | None:
        """The HTML of one person's message; None when they got none, or nothing is known of them any more.

        bundle  the approval in force; who got what was amended afterwards sees what they got
        """
        row = self._row(bundle, contact_id)
        if row is None:
            return None
        filler, message = self._filler(self._got(bundle, contact_id))
        try:
            page = filler.page(recipient_of(row, variant=row["variant"], date=now))
        except Refused:
            return None
        pictures = {name: each for part in message.every() for name, each in part.pictures.items()}
        return shown(page.html, pictures)

    def _got(self, bundle: Bundle, contact_id: int) -> Bundle:
        if not bundle.amends:
            return bundle
        path = self.home.ledgers / f"{bundle.key}.sqlite"
        name = bundle_of(path, contact_id) if path.exists() else None
        if name is None or name == bundle.content_hash:
            return bundle
        return load(bundle.key, self.home.approvals, name) or bundle

    def _row(self, bundle: Bundle, contact_id: int) -> dict[str, Any] | None:
        lake = Lake(self.home.lake)
        planned = lake.read(AUDIENCE.name).filter(
            pl.col("campaign") == bundle.key,
            pl.col("contact_id") == contact_id,
            pl.col("decision") == "mail",
        )
        contacts = lake.read("core.contacts").filter(pl.col("contact_id") == contact_id)
        joined = planned.select("contact_id", "variant", "fields").join(contacts, on="contact_id")
        return next(iter(pl.DataFrame(joined.collect()).rows(named=True)), None)

    def _filler(self, bundle: Bundle) -> tuple[Filler, CompiledMessage]:
        kept = self._fillers.get(bundle.content_hash)
        if kept is None:
            message = CompiledMessage.model_validate(bundle.message)
            filler = Filler(
                message,
                public_url=self.public_url,
                campaign=bundle.key,
                link_key=self.home.key("links"),
            )
            self._fillers[bundle.content_hash] = kept = (filler, message)
            while len(self._fillers) > KEPT:
                del self._fillers[next(iter(self._fillers))]
        return kept
