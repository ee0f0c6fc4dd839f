"""The ledger's tables and the statements that change them. What they mean is ledger.py's."""

from collections.abc import Iterable

from pipelines.delivery.recovery import TRIED_AGAIN
from pipelines.delivery.states import AGAIN, TO_RESEND, State


def words(states: Iterable[State]) -> str:
    """States as SQL writes a list."""
    return ", ".join(f"'{each}'" for each in sorted(states))


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
  worker integer not null,
  was text
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
# A ledger from before claims remembered: who is claimed once more was put off, or waits for a second copy.
REMEMBER = (
    "alter table sends add column was text",
    """
update sends set was = json_array(
    case when contact_id in (select contact_id from doubts where state = 'waived_resend')
      then 'waived_resend' else 'deferred' end,
    null, null, null, attempts - 1, claimed_at, claimed_at, claimed_at, epoch)
where state = 'claimed' and attempts > 1
""",
)
# What a row was before its claim, for as long as it is claimed; null: nobody had begun.
_REMEMBERED = (
    "state", "reason", "reply_class", "reply", "attempts", "claimed_at", "settled_at", "next_at", "epoch",
)  # fmt: skip
CLAIM = f"""
insert into sends (contact_id, address_hash, recipient, state, attempts, claimed_at, epoch, worker)
values (?, ?, ?, 'claimed', 1, ?, ?, ?)
on conflict (contact_id) do update set
  was = case when state = 'claimed' then was else json_array({", ".join(_REMEMBERED)}) end,
  state = 'claimed', address_hash = excluded.address_hash,
  recipient = excluded.recipient, attempts = attempts + 1, claimed_at = excluded.claimed_at,
  settled_at = null, next_at = null, reason = null, reply_class = null, reply = null,
  epoch = excluded.epoch, worker = excluded.worker
"""
FREE_NEW = (
    "delete from sends where contact_id = ? and state = 'claimed' and epoch = ? and was is null"
)
FREE = f"""
update sends set {", ".join(f"{name} = json_extract(was, '$[{n}]')" for n, name in enumerate(_REMEMBERED))}
where contact_id = ? and state = 'claimed' and epoch = ?
"""
# Its own hash would not be unique; a state that is final stays.
DUPLICATE = f"""
insert into sends (contact_id, address_hash, recipient, state, reason, settled_at, epoch, worker)
values (?, ?, ?, 'withheld', 'duplicate_address', ?, ?, ?)
on conflict (contact_id) do update set state = 'withheld', reason = 'duplicate_address',
  address_hash = excluded.address_hash, settled_at = excluded.settled_at, next_at = null
where state = 'deferred' or state in ({words(TO_RESEND)})
  or (state = 'claimed' and epoch < excluded.epoch)
"""
# Who a new run would try, at a time.
DUE = f"(state in ({words(AGAIN)}) or (state = 'deferred' and coalesce(next_at, 0) <= ?))"
# Deferred by a relay, and not by a person who lets them be tried once more.
PUT_OFF = f"state = 'deferred' and coalesce(reason, '') <> '{TRIED_AGAIN}'"
SETTLE = """
update sends set state = ?1, reason = ?2, reply_class = ?3, reply = ?4, message_id = ?5,
  settled_at = ?6, next_at = case when ?7 is not null then retry_at(attempts, ?7) end
where contact_id = ?8 and state = 'claimed' and epoch = ?9
"""
# Who was let have a second copy: whatever became of that one, they may have the first.
RESENT = "select contact_id from doubts where state = 'waived_resend'"
_LEAVE = f"""
update sends set state = 'waived_skip', next_at = null, settled_at = coalesce(settled_at, ?),
  reason = (select source from doubts where contact_id = sends.contact_id and state = 'waived_resend')
where contact_id in ({RESENT})
"""
# Of these, who would be given up on, and who would be cancelled: left at that.
LEAVE_PUT_OFF = f"{_LEAVE} and {PUT_OFF}"
LEAVE_UNSENT = (
    f"{_LEAVE} and (state in ('deferred', 'waived_resend') or (state = 'claimed' and epoch < ?))"
)
