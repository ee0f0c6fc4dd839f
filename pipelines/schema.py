"""Every table of the lake: its columns, its grain, and whether it holds personal data.

The one place where columns are declared. `raw.*`, `quarantine.*` and `segments.<name>` are not here: their
columns follow from a source or a query.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import polars as pl

UTC_TIME = pl.Datetime("us", "UTC")
TEXT, WHOLE, BOOL, DATE = pl.String, pl.Int64, pl.Boolean, pl.Date


@dataclass(frozen=True)
class Table:
    """One table. `name` is `layer.table`: the DuckDB view, the folder and the Dagster asset key."""

    name: str
    grain: str
    columns: Mapping[str, pl.DataType | type[pl.DataType]]
    # Personal data: short history, no column statistics (they would stay in the Delta log).
    personal: bool = False
    # Rows are replaced and read by this column, a campaign or a segment at a time.
    by: tuple[str, ...] = field(default=())
    # Columns each value of which has files of its own: replacing one leaves the others' files alone.
    partitioned: tuple[str, ...] = field(default=())
    # How rows of one write lie in its files: a quarter of a year's together by this time, then by these.
    # A question about last month leaves most of a file unread, and a contact's rows are close together.
    by_quarter: str | None = None
    sorted_by: tuple[str, ...] = field(default=())
    # Columns with too many values for a dictionary, besides the times.
    varied: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))

    @property
    def schema(self) -> pl.Schema:
        return pl.Schema(self.columns)

    def empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self.schema)


IDENTITIES = Table(
    "core.identities",
    "one row per (source, external_id)",
    {"source": TEXT, "external_id": TEXT, "contact_id": WHOLE},
)
CONTACTS = Table(
    "core.contacts",
    "one row per contact",
    {
        "contact_id": WHOLE,
        "address": TEXT,  # as typed, trimmed
        "address_normalised": TEXT,  # case-folded, domain as A-label: for comparing, never for sending
        "first_name": TEXT,
        "last_name": TEXT,
        "locale": TEXT,  # BCP 47, such as en-GB
        "time_zone": TEXT,  # IANA, such as Europe/Paris
        "country": TEXT,  # ISO 3166-1 alpha-2 where the source gives it
        "city": TEXT,
        "birth_on": DATE,
        "created_at": UTC_TIME,
        "source": TEXT,
        "attributes": TEXT,  # JSON object of everything else a source maps
    },
    personal=True,
    sorted_by=("contact_id",),
    varied=("contact_id", "address", "address_normalised"),
)
CONSENTS = Table(
    "core.consents",
    "one row per decision a contact made",
    {
        "consent_id": TEXT,  # hash of what follows: loading an export twice adds nothing
        "contact_id": WHOLE,
        "purpose": TEXT,  # marketing | tracking
        "topic": TEXT,  # a key of topics.yaml; null for tracking
        "status": TEXT,  # granted | withdrawn
        "lawful_basis": TEXT,
        "wording_version": TEXT,
        "source": TEXT,
        "recorded_at": UTC_TIME,
        "proof": TEXT,
        "is_fictitious": BOOL,  # made up for a demonstration; live mode refuses it
    },
)
SUPPRESSIONS = Table(
    "core.suppressions",
    "one row per decision that somebody is not to be mailed; exported from the people store",
    {
        "address_hash": TEXT,  # keyed, so it survives erasure of the contact
        "contact_id": WHOLE,
        "scope": TEXT,  # all | brand | topic
        "scope_key": TEXT,  # which brand or topic; '' for all
        "reason": TEXT,
        "since_at": UTC_TIME,
        "origin": TEXT,
    },
)
ORDERS = Table(
    "core.orders",
    "one row per order",
    {
        "order_id": TEXT,  # source:external id
        "contact_id": WHOLE,
        "ordered_at": UTC_TIME,
        "amount_minor": WHOLE,  # minor units of currency; negative for a return
        "currency": TEXT,
        "status": TEXT,  # completed | cancelled
        "source": TEXT,
    },
    by_quarter="ordered_at",
    sorted_by=("contact_id", "ordered_at"),
    varied=("contact_id", "order_id"),
)
ORDER_LINES = Table(
    "core.order_lines",
    "one row per line of an order",
    {
        "order_id": TEXT,
        "line_number": WHOLE,
        "product_id": TEXT,
        "quantity": WHOLE,
        "unit_price_minor": WHOLE,
        "amount_minor": WHOLE,
        "currency": TEXT,
    },
    sorted_by=("product_id", "order_id", "line_number"),
    varied=("order_id",),
)
PRODUCTS = Table(
    "core.products",
    "one row per product",
    {
        "product_id": TEXT,
        "name": TEXT,
        "category": TEXT,
        "price_minor": WHOLE,
        "currency": TEXT,
        "source": TEXT,
    },
)
ACTIVITIES = Table(
    "core.activities",
    "one row per thing a contact did at a source, such as in its shop",
    {
        "activity_id": TEXT,  # source:external id, or a hash of what it says where rows have no id
        "contact_id": WHOLE,
        "kind": TEXT,  # view | cart | sign_in | any other word the source maps
        "occurred_at": UTC_TIME,
        "product_id": TEXT,  # what it was about; null where it was about no product
        "source": TEXT,
    },
    sorted_by=("kind", "occurred_at"),
    varied=("contact_id", "activity_id"),
)
ENGAGEMENT_EVENTS = Table(
    "core.engagement_events",
    "one row per event: something a recipient, or a machine on their behalf, did",
    {
        "event_id": TEXT,
        "kind": TEXT,  # open | click | unsubscribe | bounce | complaint
        "occurred_at": UTC_TIME,
        "campaign": TEXT,  # partition key: slug or slug@occurrence
        "contact_id": WHOLE,
        "link": WHOLE,  # number of the link in the compiled message; null unless a click
        "detail": TEXT,  # unsubscribe: topic | all; bounce: hard | soft and its status code
        "is_machine": BOOL,
        "verdict": TEXT,  # the rule that decided is_machine
        "rule_version": WHOLE,
        "user_agent": TEXT,
        "network": TEXT,  # the /24 or /48 the request came from
        "log_partition": TEXT,
        "log_offset": WHOLE,
    },
    partitioned=("kind",),
    sorted_by=("occurred_at",),
    varied=("contact_id", "event_id", "log_offset"),
)
ENGAGEMENT = Table(
    "core.engagement",
    "one row per contact who was ever sent a message or did something; machine events left out",
    {
        "contact_id": WHOLE,
        "last_sent_at": UTC_TIME,
        "last_tracked_sent_at": UTC_TIME,  # null: an open could never have been seen
        "last_opened_at": UTC_TIME,
        "last_clicked_at": UTC_TIME,
        "sent_90_days": WHOLE,
        "tracked_sent_90_days": WHOLE,
        "opened_90_days": WHOLE,
        "clicked_90_days": WHOLE,
    },
    sorted_by=("contact_id",),
    varied=("contact_id",),
)
SEGMENT_HISTORY = Table(
    "segments.history",
    "one row per stay of a contact in a segment",
    {"segment": TEXT, "contact_id": WHOLE, "joined_at": UTC_TIME, "left_at": UTC_TIME},
    by=("segment",),
    partitioned=("segment",),
)
SEGMENT_RUNS = Table(
    "segments.runs",
    "one row per run of a segment, kept or refused by its checks",
    {
        "segment": TEXT,
        "as_of": UTC_TIME,
        "ran_at": UTC_TIME,
        "size": WHOLE,
        "contacts": WHOLE,  # all contacts there were
        "joined": WHOLE,
        "left": WHOLE,
        "seconds": pl.Float64,
        "code_version": TEXT,  # of the file and of all it stands on
        "read_versions": TEXT,  # JSON object: table → version
        "checks": TEXT,  # JSON list: name, passed, told
        "is_kept": BOOL,  # false: refused by a check, the members of before stayed
    },
)
AUDIENCE = Table(
    "campaigns.audience",
    "one row per candidate and campaign",
    {
        "campaign": TEXT,
        "bundle": TEXT,  # content hash of the approval it was planned under
        "contact_id": WHOLE,
        "recipient": WHOLE,  # 0, 1, 2 … among those to mail; null for the others
        "decision": TEXT,  # mail | hold_out | excluded
        "reason": TEXT,  # null for mail
        "variant": TEXT,
        "send_at": UTC_TIME,
        "is_tracked": BOOL,
        "address_hash": TEXT,  # keyed hash of the normalised address
        "fields": TEXT,  # JSON object: extra columns of the segment, for personalisation
        "planned_at": UTC_TIME,
    },
    by=("campaign",),
)
SENDS = Table(
    "campaigns.sends",
    "one row per recipient and campaign; exported from the ledger",
    {
        "campaign": TEXT,
        "contact_id": WHOLE,
        "recipient": WHOLE,
        "variant": TEXT,
        "state": TEXT,  # State of pipelines/delivery/ledger.py, or unclaimed
        "reason": TEXT,
        "attempts": WHOLE,
        "reply_class": TEXT,
        "is_tracked": BOOL,
        "message_id": TEXT,
        "claimed_at": UTC_TIME,
        "settled_at": UTC_TIME,
        "bundle": TEXT,  # content hash of the approval the latest try was under; null before one
        "was_resent": BOOL,  # a second copy was allowed though they may have the first
    },
    by=("campaign",),
)
LEDGER_HEADS = Table(
    "campaigns.ledger_heads",
    "one row per start of a send: what the lake knows of each ledger",
    {"campaign": TEXT, "epoch": WHOLE, "home_id": TEXT, "machine_id": TEXT, "started_at": UTC_TIME},
)
CAMPAIGN_RESULTS = Table(
    "reports.campaign",
    "one row per campaign, arm (variant or hold_out, or all) and measure",
    {
        "campaign": TEXT,
        "arm": TEXT,
        "measure": TEXT,
        "count": WHOLE,
        "of": WHOLE,
        "rate": pl.Float64,
        "low": pl.Float64,  # 95 % interval
        "high": pl.Float64,
        "made_at": UTC_TIME,
    },
    by=("campaign",),
)
REPORT_MAILS = Table(
    "reports.mail",
    "one row per campaign and edition of its report that was mailed to the owner",
    {"campaign": TEXT, "edition": TEXT, "message_id": TEXT, "mailed_at": UTC_TIME},
)

TABLES: Mapping[str, Table] = MappingProxyType(
    {
        table.name: table
        for table in (
            IDENTITIES, CONTACTS, CONSENTS, SUPPRESSIONS, ORDERS, ORDER_LINES, PRODUCTS, ACTIVITIES,
            ENGAGEMENT_EVENTS, ENGAGEMENT, SEGMENT_HISTORY, SEGMENT_RUNS, AUDIENCE, SENDS, LEDGER_HEADS,
            CAMPAIGN_RESULTS, REPORT_MAILS,
        )
    }
)  # fmt: skip
