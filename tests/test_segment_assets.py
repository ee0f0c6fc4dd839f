"""Segments and marts as Dagster runs them: their checks, what they show, and when they are made anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets import marts, segments
from pipelines.lake import Lake
from pipelines.resources import LakeResource, WorkspaceResource
from pipelines.schema import CONTACTS, ORDERS, Table
from pipelines.segments.checks import described
from pipelines.segments.project import load
from pipelines.settings import HomeKind, make_home

HEADER = "/*\ndescription: {}\nowner: team:crm\n{}*/\n"
BUYERS = "select contact_id from core.orders where ordered_at <= $as_of group by contact_id"
EVERYBODY = "select contact_id, first_name, address from core.contacts"
FILES = {
    "segments/everybody": HEADER.format("Each contact there is", "") + EVERYBODY,
    "segments/buyers": HEADER.format(
        "Who bought since $since",
        "parameters: {since: 2020-01-01}\nchecks: {rows_at_least: 1, no_rows: [sane]}\n",
    )
    + BUYERS.replace("group", "and ordered_at > $since group"),
    "segments/hourly": HEADER.format("Who bought, by the hour", "refresh: hourly\n") + BUYERS,
    "segments/weekly": HEADER.format("Who bought, by the week", "refresh: weekly\n") + BUYERS,
    "segments/above": HEADER.format("Each contact again", "") + "select contact_id from segments.everybody",
    "segments/old": HEADER.format("Each contact, of old", "status: deprecated\nreplaced_by: everybody\n")
    + "select contact_id from core.contacts",
    "marts/value": HEADER.format("Orders of each buyer", "grain: one row per buyer\n")
    + "select contact_id, count(*) as orders, 'ada@shop.example' as address from core.orders group by 1",
    "checks/sane": HEADER.format("Nobody is below zero", "")
    + "select contact_id from members where contact_id < 0",
}  # fmt: skip
PEOPLE = (("ada@shop.example", "Ada"), ("bert@shop.example", "Bert"), ("cleo@shop.example", "Cleo"))
MONDAY = datetime(2026, 11, 2, 3, 59, tzinfo=UTC)


class Place:
    """A home and a project that the settings of this process name."""

    def __init__(self, root: Path) -> None:
        self.home, self.project = root / "home", root / "project"

    @property
    def lake(self) -> Lake:
        return Lake(self.home / "lake")

    def write(self, name: str, text: str) -> None:
        path = self.project / f"sql/{name}.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.project / f"sql/{name}.sql"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def definitions(self) -> dg.Definitions:
        """The assets of the files as they are now; the core tables are somebody else's."""
        core = [dg.AssetSpec(["core", name]) for name in ("contacts", "orders")]
        resources = {"lake": LakeResource(), "workspace": WorkspaceResource()}
        wiring = dg.Definitions(assets=core, resources=resources)
        return dg.Definitions.merge(segments.defs(), marts.defs(), wiring)

    def asset(self, key: str) -> dg.AssetsDefinition:
        return self.definitions().resolve_assets_def(dg.AssetKey(key.split("/")))

    def version(self, name: str) -> int | None:
        return self.lake.version(name)


def put(lake: Lake, table: Table, *rows: dict[str, Any]) -> None:
    whole = [{column: row.get(column) for column in table.columns} for row in rows]
    lake.append(table, pl.DataFrame(whole, schema=table.schema))


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("assets")
    place = Place(root)
    make_home(place.home, kind=HomeKind.DEVELOPMENT, at=datetime.now(UTC))
    people = (
        {"contact_id": n, "address": a, "first_name": f} for n, (a, f) in enumerate(PEOPLE, 1)
    )
    put(place.lake, CONTACTS, *people)
    put(place.lake, ORDERS, *({"contact_id": n, "ordered_at": MONDAY} for n in (1, 1, 2)))
    for name, text in FILES.items():
        place.write(name, text)
    return root


@pytest.fixture
def place(_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name in [each for each in os.environ if each.startswith("LETTERMILL_")]:
        monkeypatch.delenv(name)
    root = shutil.copytree(_made, tmp_path / "all")
    monkeypatch.setenv("LETTERMILL_HOME", str(root / "home"))
    monkeypatch.setenv("LETTERMILL_PROJECT", str(root / "project"))
    return Place(root)


@pytest.fixture
def instance() -> Iterable[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


Make = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def make(place: Place, instance: dg.DagsterInstance) -> Make:
    """Materialise one asset in this process; config as the asset takes it."""

    def materialised(key: str, **config: Any) -> dg.ExecuteInProcessResult:
        name = key.replace("/", "__")
        return dg.materialize(
            [place.asset(key)],
            instance=instance,
            run_config={"ops": {name: {"config": config}}} if config else None,
            raise_on_error=False,
        )

    return materialised


def metadata(done: dg.ExecuteInProcessResult) -> dict[str, Any]:
    [event] = done.get_asset_materialization_events()
    return {name: each.value for name, each in event.materialization.metadata.items()}


def checked(done: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {each.check_name: each for each in done.get_asset_check_evaluations()}


def failed(done: dg.ExecuteInProcessResult) -> dict[str, str]:
    evaluations = checked(done).items()
    return {name: each.severity.value for name, each in evaluations if not each.passed}


def events(done: dg.ExecuteInProcessResult) -> str:
    """Everything a run leaves in Dagster's storage, as text."""
    return "\n".join(f"{each} {each.event_specific_data}" for each in done.all_events)


def members(place: Place, name: str) -> list[int]:
    return place.lake.read(f"segments.{name}").collect()["contact_id"].sort().to_list()


# What an asset says before it runs


def test_an_asset_says_whose_it_is_what_one_row_is_and_which_parameters_it_has(place: Place):
    spec = next(iter(place.asset("segments/buyers").specs))

    assert (spec.owners, spec.group_name, spec.kinds) == (
        ["team:crm"],
        "segments",
        {"sql", "duckdb"},
    )
    assert spec.tags["status"] == "live"
    assert spec.description is not None
    assert spec.description.splitlines()[0] == "One row per contact. Who bought since 2020-01-01."
    assert "`$since` = 2020-01-01" in spec.description
    assert [dep.asset_key.to_user_string() for dep in spec.deps] == ["core/orders"]


def test_a_deprecated_segment_says_what_to_read_instead(place: Place):
    spec = next(iter(place.asset("segments/old").specs))

    assert "Deprecated: read segments.everybody instead." in (spec.description or "")
    assert spec.tags["status"] == "deprecated"


def test_a_segment_depends_on_the_segment_it_reads(place: Place):
    deps = next(iter(place.asset("segments/above").specs)).deps

    assert [dep.asset_key.to_user_string() for dep in deps] == ["segments/everybody"]


def test_every_check_of_a_header_is_a_check_of_the_asset(place: Place):
    specs = {each.name: each for each in place.asset("segments/buyers").check_specs}

    header = load(place.project, "buyers").header
    assert {name: (each.description, each.blocking) for name, each in specs.items()} == described(
        header.checks
    )
    assert {"rows_at_least", "sane"} <= set(specs)


def test_the_version_of_the_code_follows_the_select_and_not_the_words(place: Place):
    def version() -> str | None:
        return next(iter(place.asset("segments/everybody").specs)).code_version

    usual = version()
    place.edit("segments/everybody", "Each contact there is", "Each contact we know")
    reworded = version()
    place.edit("segments/everybody", "address from", "address, city from")

    assert reworded == usual != version()


# What a run does


def test_a_run_keeps_the_members_and_shows_counts_versions_and_their_course(
    place: Place, make: Make
):
    done = make("segments/everybody")

    told = metadata(done)
    assert done.success
    assert members(place, "everybody") == [1, 2, 3]
    assert (told["dagster/row_count"], told["share of contacts"]) == (3, 1.0)
    assert (told["joined"], told["left"]) == (3, 0)
    assert told["versions read"] == {"core.contacts": 0}
    assert told["bytes read"] > 0
    assert told["size over time"].startswith("![size over time](data:image/png;base64,")
    assert "| contact_id | first_name | address |" in told["sample"]


def test_every_check_has_its_result_with_what_was_found(make: Make):
    done = make("segments/buyers")

    results = checked(done)
    assert all(each.passed for each in results.values())
    found = {name: each.metadata["found"].value for name, each in results.items()}
    assert found["not_empty"] == "2 of 3 contacts"
    assert found["rows_at_least"] == "At least 1 contacts are in it; there are 2"
    assert found["sane"] == "returned no row"
    assert found["grows_within_bounds"] == "no run to compare with"


@pytest.mark.parametrize("key", ["segments/everybody", "marts/value"])
def test_no_address_and_no_name_leaves_the_lake(make: Make, key: str):
    done = make(key)

    said = events(done)
    assert done.success
    assert "•••" in said
    assert [word for each in PEOPLE for word in each if word in said] == []


def test_a_blocking_check_that_fails_fails_the_run_and_keeps_the_last_good_members(
    place: Place, make: Make
):
    make("segments/buyers")
    before = [place.version(f"segments.{name}") for name in ("buyers", "history")]
    place.edit("segments/buyers", "rows_at_least: 1", "rows_at_least: 9")

    done = make("segments/buyers")

    assert not done.success
    assert failed(done) == {"rows_at_least": "ERROR"}
    assert done.get_asset_materialization_events() == []
    assert "the last good members stay" in events(done)
    assert [place.version(f"segments.{name}") for name in ("buyers", "history")] == before


def test_a_segment_that_cannot_be_evaluated_fails_with_the_line_of_its_file(
    place: Place, make: Make
):
    place.edit("segments/buyers", "select contact_id", "select contact_id, colour")

    done = make("segments/buyers")

    failure: Any = done.failure_data_for_node("segments__buyers")
    assert 'line 7   Referenced column "colour" not found' in failure.error.to_string()
    assert place.version("segments.buyers") is None


def test_a_check_that_does_not_block_warns_and_the_members_are_kept(place: Place, make: Make):
    make("segments/everybody")
    people = ({"contact_id": n, "address": f"p{n}@shop.example"} for n in range(4, 9))
    put(place.lake, CONTACTS, *people)

    done = make("segments/everybody")

    assert done.success
    assert failed(done) == {"grows_within_bounds": "WARN"}
    assert members(place, "everybody") == [*range(1, 9)]


def test_a_segment_is_skipped_while_nothing_it_reads_changes(place: Place, make: Make):
    first = make("segments/everybody")

    second = make("segments/everybody")

    assert second.success
    assert metadata(second) == {
        "dagster/row_count": 3, "skipped": "nothing it reads has changed",
    }  # fmt: skip
    assert set(checked(second)) == set(checked(first))
    assert place.version("segments.everybody") == 0


def test_a_segment_that_is_forced_or_whose_input_changed_is_evaluated(place: Place, make: Make):
    make("segments/everybody")

    forced = make("segments/everybody", force=True)
    put(place.lake, CONTACTS, {"contact_id": 4})
    changed = make("segments/everybody")

    assert metadata(forced)["dagster/row_count"] == 3
    assert "skipped" not in metadata(forced)
    assert metadata(changed)["joined"] == 1


def test_a_segment_above_another_is_skipped_and_evaluated_by_what_that_one_reads(
    place: Place, make: Make
):
    make("segments/above")
    skipped = make("segments/above")
    put(place.lake, CONTACTS, {"contact_id": 4})

    evaluated = make("segments/above")

    assert "skipped" in metadata(skipped)
    assert metadata(evaluated)["dagster/row_count"] == 4


def test_a_check_that_came_since_the_last_run_is_made(place: Place, make: Make):
    make("segments/everybody")
    place.edit("segments/everybody", "owner:", "checks: {rows_at_most: 2}\nowner:")

    done = make("segments/everybody")

    assert not done.success
    assert failed(done) == {"rows_at_most": "ERROR"}


def test_a_segment_that_asks_the_time_is_evaluated_for_the_time_it_is_given(
    place: Place, make: Make
):
    early = make("segments/buyers", as_of=(MONDAY - timedelta(days=1)).isoformat())
    at = make("segments/buyers", as_of=MONDAY.isoformat())
    in_utc = make("segments/buyers", as_of=MONDAY.replace(tzinfo=None).isoformat())

    assert failed(early) == {"not_empty": "ERROR", "rows_at_least": "ERROR"}
    assert at.success
    assert in_utc.success
    assert place.lake.read("segments.buyers").collect()["as_of"].unique().to_list() == [MONDAY]


def test_a_mart_is_kept_with_its_rows_and_the_versions_it_read(place: Place, make: Make):
    done = make("marts/value", as_of=MONDAY.isoformat())

    told = metadata(done)
    assert (told["dagster/row_count"], told["version"]) == (2, 0)
    assert told["versions read"] == {"core.orders": 0}
    assert "| contact_id | orders | address |" in told["sample"]
    rows = place.lake.read("marts.value").select("contact_id", "orders", "as_of").collect().rows()
    assert sorted(rows) == [(1, 2, MONDAY), (2, 1, MONDAY)]


def test_a_mart_that_fails_keeps_its_last_rows(place: Place, make: Make):
    make("marts/value")
    place.edit("marts/value", "count(*)", "counted(*)")

    assert not make("marts/value").success
    assert place.version("marts.value") == 0


# When automation makes them anew


class Automation:
    """Automation's ticks at times of the test's own; what it requests counts as handled, run or not."""

    def __init__(self, place: Place, instance: dg.DagsterInstance) -> None:
        self.definitions, self.instance, self.cursor = place.definitions(), instance, None

    def tick(self, at: datetime) -> set[str]:
        """The segments and marts requested at a time."""
        result: Any = dg.evaluate_automation_conditions(
            self.definitions, instance=self.instance, evaluation_time=at, cursor=self.cursor
        )
        self.cursor = result.cursor
        keys = [spec.key for spec in self.definitions.resolve_all_asset_specs()]
        return {key.to_user_string() for key in keys if result.get_num_requested(key)}

    def wrote(self, key: str) -> None:
        event = dg.AssetMaterialization(key.split("/"))
        self.instance.report_runless_asset_event(event)


BY_TIME = {"segments/buyers", "segments/hourly", "segments/weekly"}
ON_CHANGE = {"segments/everybody", "segments/old", "marts/value"}


@pytest.fixture
def automation(place: Place, instance: dg.DagsterInstance) -> Automation:
    """Everything was made once, and automation has looked at it, on a Monday at 03:59."""
    found = Automation(place, instance)
    for name in FILES:
        if not name.startswith("checks/"):
            found.wrote(name)
    found.tick(MONDAY)
    return found


def test_before_anything_was_written_nothing_is_requested(
    place: Place, instance: dg.DagsterInstance
):
    assert Automation(place, instance).tick(MONDAY) == set()


def test_what_was_never_made_is_made_when_its_input_is_written(
    place: Place, instance: dg.DagsterInstance
):
    found = Automation(place, instance)
    found.tick(MONDAY)

    found.wrote("core/orders")

    assert found.tick(MONDAY) == {*BY_TIME, "marts/value"}


def test_what_does_not_ask_the_time_follows_its_inputs_once_and_others_do_not(
    automation: Automation,
):
    automation.wrote("core/contacts")
    after_contacts = automation.tick(MONDAY)
    automation.wrote("core/orders")

    assert after_contacts == {"segments/everybody", "segments/old", "segments/above"}
    assert automation.tick(MONDAY) == {"marts/value"}
    assert automation.tick(MONDAY) == set()


def test_a_segment_follows_the_segment_it_reads(automation: Automation):
    automation.wrote("segments/everybody")

    assert automation.tick(MONDAY) == {"segments/above"}


def test_while_nothing_is_written_each_hour_day_and_week_makes_its_own_once(
    automation: Automation,
):
    times = [MONDAY + timedelta(minutes=minutes) for minutes in (10, 40, 70, 24 * 60 + 40)]

    # Twice each, for automation looks every half minute.
    requested = [(automation.tick(at), automation.tick(at + timedelta(seconds=30))) for at in times]

    assert requested == [
        ({"segments/hourly"}, set()),
        ({"segments/buyers", "segments/weekly"}, set()),
        ({"segments/hourly"}, set()),
        ({"segments/hourly", "segments/buyers"}, set()),
    ]


@pytest.mark.parametrize(
    ("at", "requested"),
    [
        (MONDAY.replace(hour=4, minute=4), set()),
        (MONDAY.replace(hour=4, minute=6), {"segments/hourly"}),
        (MONDAY.replace(hour=4, minute=29), {"segments/hourly"}),
        (MONDAY.replace(hour=4, minute=31), BY_TIME),
    ],
    ids=["before the hour's", "after it", "before the day's and the week's", "after them"],
)
def test_what_asks_the_time_is_made_as_often_as_its_header_says(
    automation: Automation, at: datetime, requested: set[str]
):
    assert automation.tick(at) == requested


def test_a_segment_whose_select_was_edited_is_made_anew(place: Place, automation: Automation):
    place.edit("segments/old", "core.contacts", "core.contacts where contact_id > 1")
    automation.definitions = place.definitions()

    assert automation.tick(MONDAY) == {"segments/old"}
    assert automation.tick(MONDAY) == set()


def test_a_draft_is_left_to_whoever_writes_it(place: Place, automation: Automation):
    place.write("segments/draft", HEADER.format("A draft", "status: draft\n") + EVERYBODY)
    automation.definitions = place.definitions()

    automation.wrote("core/contacts")

    assert "segments/draft" not in automation.tick(MONDAY)


def test_nothing_is_requested_while_it_runs(place: Place, automation: Automation):
    asset = place.asset("segments/everybody")
    job = dg.Definitions(assets=[asset]).resolve_implicit_global_asset_job_def()
    running = automation.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    automation.wrote("core/contacts")

    meanwhile = automation.tick(MONDAY)
    automation.instance.report_run_failed(running)

    assert "segments/everybody" not in meanwhile
    assert "segments/everybody" in automation.tick(MONDAY + timedelta(minutes=1))
