"""From a campaign folder to an approved bundle, and from the bundle to a frozen audience.

A send reads the bundle and the frozen audience, nothing of the project: what was edited after
approval shows as changed, and goes out only when it is approved again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from pipelines.campaigns.brands import load_brand
from pipelines.campaigns.bundle import Bundle, load_current, save
from pipelines.campaigns.campaign import (
    FOLDER,
    Campaign,
    CampaignKey,
    campaign_key,
    load,
    slug_of,
)
from pipelines.campaigns.sources import fingerprints
from pipelines.campaigns.topics import load_topics
from pipelines.delivery import audience, candidates
from pipelines.delivery.audience import survivors
from pipelines.delivery.coupons import Coupons, with_codes
from pipelines.delivery.holding import head_of
from pipelines.delivery.imported import suppress_imported
from pipelines.delivery.ledger import Ledger, reached_by_others
from pipelines.delivery.lock import CampaignLock
from pipelines.delivery.look import look
from pipelines.delivery.people import PeopleStore
from pipelines.errors import CampaignInvalid, Problem, SendHeld
from pipelines.message.compile import compile_message
from pipelines.schema import AUDIENCE
from pipelines.workspace import Workspace

READ = ("core.contacts", "core.consents")
# An audience this far from what was approved is a surprise; surprises are looked at first.
TOLERANCE = 0.2


@dataclass(frozen=True)
class Plan:
    """An audience as it would be now: one row per candidate (campaigns.audience), and its counts."""

    frame: pl.DataFrame
    counts: dict[str, int]
    pins: dict[str, int]
    was_kept: bool = False

    @property
    def to_mail(self) -> int:
        return self.counts.get(audience.Decision.MAIL.value, 0)


def draft(slug: str, workspace: Workspace) -> Plan:
    """The audience of a campaign as its files stand now; writes nothing."""
    campaign = load(workspace.project, slug_of(slug))
    return _plan(campaign, slug, candidates.texts(campaign, workspace.project), workspace)


def approve(key: str, *, by: str, workspace: Workspace) -> Bundle:
    """Freeze a campaign as it stands: message, segment SQL and settings.

    Raises CampaignInvalid with everything that is wrong, and SendHeld once its send has begun: who is
    left would then be mailed something else than who was first.
    """
    slug = slug_of(key)
    campaign = checked(slug, workspace)
    segments = candidates.texts(campaign, workspace.project)
    plan = _plan(campaign, key, segments, workspace)
    _enough_coupons(campaign, plan, workspace)
    bundle = Bundle(
        campaign=campaign,
        key=campaign_key(key),
        segments=segments,
        message=compile_message(campaign, project=workspace.project).model_dump(mode="json"),
        topic=load_topics(workspace.project)[campaign.topic],
        brand=load_brand(workspace.project, campaign.brand),
        sources=fingerprints(campaign, workspace.project),
        approved_by=by,
        approved_at=workspace.clock.now(),
        expected_recipients=plan.to_mail,
        environment=workspace.settings.environment.value,
        home_id=workspace.home.identity().home_id,
    )
    if bundle.expected_recipients == 0:
        do = "See why: lettermill campaign audience " + slug
        raise CampaignInvalid(f"{key} cannot be approved: nobody would get it", do=do)
    current = load_current(key, workspace.home.approvals)
    is_other = current is None or current.content_hash != bundle.content_hash
    if is_other and has_begun(key, workspace):
        do = (
            f"Finish it as approved, or with what the files say now: lettermill campaign amend {key}"
            f" --by NAME; or approve it anew as an occurrence of its own: {slug}@2"
        )
        raise SendHeld(f"{key} was already sent to some; its approval stays as it is", do=do)
    save(bundle, workspace.home.approvals)
    return bundle


def checked(slug: str, workspace: Workspace) -> Campaign:
    """A campaign as its files are now. Raises CampaignInvalid with everything that forbids to approve it."""
    load(workspace.project, slug)  # there is no such campaign: says which there are
    problems = look(slug, workspace.project).problems
    if problems:
        count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
        do = f"Mend them, then run: lettermill campaign check {slug}"
        raise CampaignInvalid(f"{slug} cannot be approved: {count}", problems, do=do)
    return load(workspace.project, slug)


def approved(key: str, workspace: Workspace) -> Bundle:
    """The bundle a send reads. Raises SendHeld when nobody approved this campaign in this home."""
    bundle = load_current(key, workspace.home.approvals)
    do = f"Look at it, then run: lettermill campaign approve {slug_of(key)} --by NAME"
    if bundle is None:
        if (workspace.project / FOLDER).is_dir():
            load(
                workspace.project, slug_of(key)
            )  # when there is no such campaign, says which there are
        raise SendHeld(f"{key} is not approved in this home; nobody is mailed", do=do)
    if bundle.home_id != workspace.home.identity().home_id:
        raise SendHeld(f"{key} was approved in another home; nobody is mailed", do=do)
    if bundle.environment != workspace.settings.environment.value:
        where = f"{key} was approved for environment '{bundle.environment}'; nobody is mailed"
        raise SendHeld(where, do=do)
    return bundle


def freeze_audience(key: str, workspace: Workspace) -> Plan:
    """Plan the audience of the approved bundle and keep it in campaigns.audience.

    Once a ledger has claimed somebody the audience stays as it is, whatever the data say now.
    """
    bundle = approved(key, workspace)
    lock = CampaignLock(workspace.home.ledgers / f"{key}.lock")
    try:
        return _freeze(key, bundle, workspace)
    finally:
        lock.release()


def _freeze(key: str, bundle: Bundle, workspace: Workspace) -> Plan:
    kept = frozen(key, workspace)
    if kept.height and has_begun(key, workspace):
        return Plan(kept, audience.counts(kept), workspace.lake.pin([*READ]), was_kept=True)
    plan = planned(bundle, workspace)
    workspace.lake.replace(AUDIENCE, plan.frame, campaign=key)
    return plan


def frozen(key: str, workspace: Workspace) -> pl.DataFrame:
    """The audience as it is kept: one row per candidate, none before it was planned."""
    rows = workspace.lake.read(AUDIENCE.name).filter(pl.col("campaign") == key)
    return pl.DataFrame(rows.collect())


def planned(bundle: Bundle, workspace: Workspace) -> Plan:
    """The audience of an approved bundle as it is to be frozen now; who is to be mailed has their code."""
    plan = _plan(bundle.campaign, bundle.key, bundle.segments, workspace, bundle.approved_at)
    rows = _with_coupons(plan.frame, bundle, workspace).with_columns(
        campaign=pl.lit(bundle.key), bundle=pl.lit(bundle.content_hash)
    )
    return Plan(rows.select(AUDIENCE.schema.names()), plan.counts, plan.pins)


def _with_coupons(frame: pl.DataFrame, bundle: Bundle, workspace: Workspace) -> pl.DataFrame:
    """The audience with a code for everybody to mail, where the campaign hands out codes."""
    pool = bundle.campaign.coupon
    if pool is None:
        return frame
    # Before any is handed out: of an audience that is held afterwards none would come back.
    expected(bundle, _to_mail(frame).len())
    codes = Coupons(workspace.home.coupons, workspace.lake).hand_out(
        pool, _to_mail(frame), campaign=bundle.key, at=workspace.clock.now()
    )
    return with_codes(frame, codes)


def _to_mail(frame: pl.DataFrame) -> pl.Series:
    return frame.filter(pl.col("decision") == audience.Decision.MAIL.value)["contact_id"]


def _enough_coupons(campaign: Campaign, plan: Plan, workspace: Workspace) -> None:
    """Raises CampaignInvalid when there are fewer codes than people to mail."""
    if campaign.coupon is None:
        return
    lacking = Coupons(workspace.home.coupons, workspace.lake).lacking(
        campaign.coupon, _to_mail(plan.frame)
    )
    if lacking:
        told = f"has {lacking:,} codes too few for {plan.to_mail:,} people"
        do = f"Load more: lettermill coupon load {campaign.coupon} FILE"
        problem = Problem(f"coupon {campaign.coupon}", told)
        raise CampaignInvalid(f"{campaign.slug} cannot be approved", [problem], do=do)


def expected(bundle: Bundle, to_mail: int) -> None:
    """Hold a send whose audience is far from what was approved. Raises SendHeld."""
    low = bundle.expected_recipients * (1 - TOLERANCE)
    high = bundle.expected_recipients * (1 + TOLERANCE)
    if low <= to_mail <= high:
        return
    told = f"{bundle.expected_recipients:,} recipients were approved, now there are {to_mail:,}"
    do = f"If that is right, approve it again: lettermill campaign approve {bundle.key} --by NAME"
    raise SendHeld(f"{bundle.key} is held", [Problem("audience", told)], do=do)


def has_begun(key: CampaignKey | str, workspace: Workspace) -> bool:
    """Whether somebody was ever claimed; of a lost or older ledger nobody knows, so it counts as begun."""
    head = head_of(key, workspace.lake)
    path = workspace.home.ledgers / f"{key}.sqlite"
    if not path.exists():
        return head > 0
    with closing(Ledger(path)) as ledger:
        return bool(ledger.counts()) or ledger.epoch < head


def _plan(
    campaign: Campaign,
    key: str,
    segments: Mapping[str, str],
    workspace: Workspace,
    approved_at: datetime | None = None,
) -> Plan:
    now = workspace.clock.now()
    pins = workspace.lake.pin({*candidates.tables(campaign, segments), *READ})
    chosen = candidates.candidates(
        campaign, segments, lake=workspace.lake, pins=pins, as_of=campaign.as_of or now
    )
    keys = audience.Keys(workspace.home.key("addresses"), workspace.home.key("variants"))
    people = _people(campaign, key, workspace, pins)
    frame = audience.plan(campaign, chosen, people, keys=keys, now=now, approved_at=approved_at)
    return Plan(frame, audience.counts(frame), pins)


def _people(
    campaign: Campaign, key: str, workspace: Workspace, pins: Mapping[str, int]
) -> audience.People:
    suppress_imported(workspace)
    store = PeopleStore(workspace.home.people)
    consents = workspace.lake.read("core.consents", pins.get("core.consents"))
    return audience.People(
        contacts=workspace.lake.read("core.contacts", pins.get("core.contacts")),
        consents=audience.on_topic(consents, campaign.topic),
        suppressed=store.suppressed_hashes(campaign.topic, campaign.brand),
        suppressed_contacts=survivors(
            store.suppressed_contacts(campaign.topic, campaign.brand), workspace.lake
        ),
        no_tracking=store.withdrawn_tracking(),
        mailed=_mailed(campaign, key, store, workspace),
    )


def _mailed(campaign: Campaign, key: str, store: PeopleStore, workspace: Workspace) -> set[int]:
    """Whom `once_per` leaves out: another occurrence mailed them, or may have. This one's are the
    ledger's."""
    if campaign.once_per == "occurrence":
        return set()
    since = campaign.once_since(workspace.clock.now())
    others = reached_by_others(workspace.home.ledgers, campaign.slug, key, since=since)
    mailed = store.last_mailed(campaign.slug, but=key)
    if since is not None:
        mailed = mailed.filter(pl.col("mailed_at") > since)
    return others | set(mailed["contact_id"].to_list())
