"""`python -m bench.faults_run [--accept]`: one send of the bench's campaign, as the settings say.

Prints one JSON line: what became of it, or in which words it stopped. It is this process that is killed.
"""

from __future__ import annotations

import json
import sys

from bench.render import SLUG
from pipelines.delivery.sending import Consent, send_campaign
from pipelines.errors import LettermillError
from pipelines.settings import Settings
from pipelines.workspace import open_workspace


def main() -> None:
    consent = Consent(late=True, ledger="--accept" in sys.argv[1:])
    space = open_workspace(Settings.load())
    try:
        result = send_campaign(SLUG, space, consent=consent)
    except LettermillError as stopped:
        print(json.dumps({"stopped": type(stopped).__name__, "words": str(stopped)}))
    else:
        print(json.dumps({"counts": result.counts, "sent": result.sent_this_run}))


if __name__ == "__main__":
    main()
