"""One recipient's letter: who it goes to in this delivery mode, its envelope and its bytes.

Knows the approved message and the home's keys; no ledger, no connection.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pipelines.campaigns.bundle import Bundle
from pipelines.clock import Clock
from pipelines.delivery.modes import Routing
from pipelines.message.compiled import CompiledMessage
from pipelines.message.dkim_keys import signer_for
from pipelines.message.fill import Filler, recipient_of
from pipelines.message.headers import envelope_address
from pipelines.message.tokens import sign_return_path
from pipelines.settings import Home, Settings

Row = dict[str, Any]


class Letter(NamedTuple):
    """An envelope and what is in it."""

    sender: str
    target: str
    raw: bytes
    message_id: str


class Letters:
    """Writes the letters of one approved campaign."""

    def __init__(self, bundle: Bundle, settings: Settings, home: Home, clock: Clock) -> None:
        self._key, self._clock = bundle.key, clock
        self._message = CompiledMessage.model_validate(bundle.message)
        self._routing = Routing.from_settings(settings)
        self._link_key = home.key("links")
        self._filler = Filler(
            self._message,
            public_url=settings.public_url,
            campaign=bundle.key,
            link_key=self._link_key,
            signer=signer_for(bundle.brand, home.keys),
        )

    def write(self, row: Row) -> Letter | None:
        """The letter of a row of the audience; None when this mode mails them nothing.

        Raises Refused for an address or a value that no message can hold.
        """
        routed = self._routing.target(row["address"])
        if routed is None:
            return None
        target = envelope_address(routed)
        # Of a header beyond ASCII the relay hears by the envelope's address; another one says nothing.
        shown = row["address"] if row["address"].isascii() else routed
        written = self._filler.write(
            recipient_of(
                row,
                variant=row["variant"],
                date=self._clock.now(),
                is_tracked=row["is_tracked"],
                address=shown,
            )
        )
        local = sign_return_path(self._key, row["contact_id"], self._link_key)
        sender = f"{local}@{self._message.return_path_domain}"
        return Letter(sender, target, written.raw, written.message_id)
