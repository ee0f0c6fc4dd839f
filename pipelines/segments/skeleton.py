"""What a new segment and its first case begin as."""

SQL = """\
/*
description: Contacts who bought in the last $days days
owner: {owner}
grain: one row per contact
status: draft
refresh: daily
parameters:
  days: {{default: 30, description: how many days back}}
*/
select
    contact_id,
    max(ordered_at) as last_ordered_at
from core.orders
where
    status = 'completed'
    and ordered_at > $as_of - to_days($days)
    and ordered_at <= $as_of
group by contact_id
"""

CASE = """\
description: Who bought a month ago to the second is out, who bought a second later is in
as_of: 2026-11-01T08:00:00Z
given:
  core.orders:
    - {contact_id: 1, ordered_at: 2026-10-02T08:00:00Z, status: completed}
    - {contact_id: 2, ordered_at: 2026-10-02T08:00:01Z, status: completed}
expect: [2]
"""
