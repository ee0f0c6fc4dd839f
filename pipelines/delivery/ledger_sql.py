"""The ledger's tables and the statements that change them. What they mean is ledger.py's."""

from pipelines.delivery.recovery import TRIED_AGAIN

SCHEMA = """
create table if not exists meta (name text primary key, value text not null) without rowid;
create table if not exists sends (
  contact_id integer primary key,
  address_hash text not null unique,
  recipient integer not null,
  state text not null,
  reason text,
  attempts integer not null default 0,
  reply_class text,
  reply text,
  message_id text,
  claimed_at integer,
  settled_at integer,
  next_at integer,
  epoch integer not null,
  worker integer not null
);
create index if not exists sends_by_state on sends (state, next_at);
create table if not exists epochs (epoch integer primary key, bundle text not null);
create table if not exists doubts (
  contact_id integer not null,
  at integer not null,
  state text not null,
  source text not null,
  detail text,
  by text,
  was text,
  epoch integer not null
);
create table if not exists seeds (
  address_hash text not null,
  variant text not null,
  state text not null,
  told text,
  at integer not null,
  primary key (address_hash, variant)
) without rowid;
create unique index if not exists doubts_resent_once on doubts (contact_id) where state = 'waived_resend';
"""
CLAIM = """
insert into sends (contact_id, address_hash, recipient, state, attempts, claimed_at, epoch, worker)
values (?, ?, ?, 'claimed', 1, ?, ?, ?)
on conflict (contact_id) do update set state = 'claimed', address_hash = excluded.address_hash,
  recipient = excluded.recipient, attempts = attempts + 1, claimed_at = excluded.claimed_at,
  settled_at = null, next_at = null, reason = null, reply_class = null, reply = null,
  epoch = excluded.epoch, worker = excluded.worker
"""
# Its own hash would not be unique; a state that is final stays.
DUPLICATE = """
insert into sends (contact_id, address_hash, recipient, state, reason, settled_at, epoch, worker)
values (?, ?, ?, 'withheld', 'duplicate_address', ?, ?, ?)
on conflict (contact_id) do update set state = 'withheld', reason = 'duplicate_address',
  address_hash = excluded.address_hash, settled_at = excluded.settled_at, next_at = null
where state in ('deferred', 'confirmed_unsent', 'waived_resend')
  or (state = 'claimed' and epoch < excluded.epoch)
"""
# Deferred by a relay, and not by a person who lets them be tried once more.
PUT_OFF = f"state = 'deferred' and coalesce(reason, '') <> '{TRIED_AGAIN}'"
SETTLE = """
update sends set state = ?1, reason = ?2, reply_class = ?3, reply = ?4, message_id = ?5,
  settled_at = ?6, next_at = case when ?7 is not null then retry_at(attempts, ?7) end
where contact_id = ?8 and state = 'claimed' and epoch = ?9
"""
