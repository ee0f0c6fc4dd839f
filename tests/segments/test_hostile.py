"""SQL that must never reach the lake's files, the machine or its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import SegmentInvalid
from pipelines.segments.segment import parse

HEADER = "/*\ndescription: Somebody's idea of a segment\nowner: team:analytics\n*/\n"

HOSTILE = {
    "two statements": "select 1 as contact_id; select 2",
    "a comment that hides a second": "select 1 as contact_id /* ; */ ; drop table core.contacts --",
    "nothing": "-- select 1",
    "read_csv": "select * from read_csv('/etc/passwd')",
    "read_parquet": "select * from read_parquet('/tmp/*.parquet')",
    "read_text": "select content from read_text('/etc/passwd')",
    "read_blob": "select content from read_blob('/etc/passwd')",
    "read_json": "select * from read_json_auto('/etc/passwd')",
    "glob": "select file as contact_id from glob('/home/*')",
    "sniff_csv": "select * from sniff_csv('/etc/passwd')",
    "a path as a table": "select * from '/etc/passwd'",
    "a quoted path as a table": 'select * from "/tmp/people.parquet"',
    "an address as a table": "select * from 'https://example.com/people.csv'",
    "a path in a subquery": (
        "select contact_id from core.contacts where contact_id in (select a from '/tmp/x.csv')"
    ),
    "a function in a CTE": "with x as (select * from read_csv('/etc/passwd')) select * from x",
    "settings": "select * from duckdb_settings()",
    "secrets": "select * from duckdb_secrets()",
    "the catalogue": "select * from information_schema.tables",
    "the catalogue of another": "select * from pg_catalog.pg_tables",
    "an unknown table": "select contact_id from core.contact",
    "another database": "select contact_id from other.core.contacts",
    "a running query by name": "select * from query('select 1')",
    "a table by name": "select * from query_table('core.contacts')",
    "copy out": "copy core.contacts to '/tmp/contacts.csv'",
    "copy in": "copy core.contacts from '/tmp/contacts.csv'",
    "export": "export database '/tmp/everything'",
    "attach": "attach '/tmp/other.duckdb' as other",
    "install": "install httpfs",
    "load": "load httpfs",
    "set": "set memory_limit = '100GB'",
    "reset": "reset enable_external_access",
    "set variable": "set variable x = 1",
    "pragma": "pragma database_list",
    "create": "create temp table x as select 1",
    "macro": "create macro f(x) as x",
    "insert": "insert into core.contacts values (1)",
    "update": "update core.contacts set address = 'x'",
    "delete": "delete from core.contacts",
    "drop": "drop view core.contacts",
    "explain": "explain analyze select 1",
    "prepare": "prepare q as select 1",
    "call": "call pragma_version()",
    "checkpoint": "checkpoint",
    "a setting's value": "select contact_id from core.contacts where current_setting('threads') = 2",
    "the time of day": "select contact_id from core.contacts where created_at < now()",
    "the time without brackets": (
        "select contact_id from core.contacts where created_at < current_timestamp"
    ),
    "today": "select contact_id from core.contacts where birth_on = today()",
    "the date without brackets": "select contact_id from core.contacts where birth_on = CURRENT_DATE",
    "time ago": "select contact_id from core.contacts where created_at < ago(interval 1 day)",
    "an age from today": "select contact_id from core.contacts where age(created_at) > interval 1 day",
    "chance": "select contact_id from core.contacts order by random() limit 10",
    "a sample": "select contact_id from core.contacts using sample 10",
    "an identifier that is new each time": "select contact_id, uuid() as code from core.contacts",
    "a variable": "select contact_id from core.contacts where city = getvariable('city')",
    "an environment variable": "select contact_id, getenv('HOME') as home from core.contacts",
    "who asks": "select contact_id from core.contacts where city = current_user",
    "sleep": "select contact_id, sleep_ms(1000) from core.contacts",
    "SQL in JSON": "select json_execute_serialized_sql(city) as contact_id from core.contacts",
    "a parameter there is not": "select contact_id from core.contacts where address = $secret",
}


@pytest.mark.parametrize("sql", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_statement_is_refused_before_it_runs(sql: str):
    with pytest.raises(SegmentInvalid) as refused:
        parse("hostile", HEADER + sql, Path("sql/segments/hostile.sql"))

    assert refused.value.problems


def test_reckoning_with_times_that_stand_in_the_tables_is_no_offence():
    sql = """
        select contact_id, date_trunc('month', max(ordered_at)) as month, dayname(max(ordered_at)) as day
        from core.orders
        where ordered_at > $as_of - interval 30 days
            and date_diff('day', ordered_at, $as_of) < 20
            and age($as_of, ordered_at) < interval 1 year
            and extract(year from ordered_at) = 2026 and strftime(ordered_at, '%Y') = '2026'
        group by contact_id
    """

    assert parse("sound", HEADER + sql, Path("sql/segments/sound.sql")).uses_as_of
