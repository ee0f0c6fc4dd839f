"""The people store's tables. A decision leaves a number behind when it is made, renewed or ended.

By these numbers a sender that runs for hours takes in what is new, and not everything again.
"""

IN_FORCE = (
    "released_at is null and (scope = 'all' or (scope = 'topic' and scope_key = ?)"
    " or (scope = 'brand' and scope_key = ?))"
)
TABLES = """
create table if not exists suppressions (
    address_hash text not null,
    contact_id integer,
    scope text not null,
    scope_key text not null,
    reason text not null,
    since_at integer not null,
    origin text not null,
    released_at integer,
    primary key (address_hash, contact_id, scope, scope_key)
);
create table if not exists tracking_withdrawals (contact_id integer primary key, since_at integer not null);
create table if not exists imports (name text primary key, imported_at integer not null) without rowid;
create table if not exists last_mailed (
    contact_id integer not null,
    campaign text not null,
    mailed_at integer not null,
    primary key (contact_id, campaign)
) without rowid;
create index if not exists suppressions_by_contact on suppressions (contact_id);
create table if not exists suppression_changes (
    number integer primary key,
    address_hash text not null,
    contact_id integer not null
);
create trigger if not exists suppression_made after insert on suppressions begin
    insert into suppression_changes (address_hash, contact_id)
    values (new.address_hash, new.contact_id);
end;
create trigger if not exists suppression_changed after update on suppressions begin
    insert into suppression_changes (address_hash, contact_id)
    values (new.address_hash, new.contact_id);
end;
"""
