/*
description: Contacts last active 180 to 365 days ago, whom tracked mail in these 180 days did not wake
owner: team:analytics
grain: one row per contact
status: live
refresh: weekly
checks:
  rows_at_least: 0
*/
with deeds as (
    -- A cancelled order or a return is a sign of life as well.
    select
        contact_id,
        ordered_at as happened_at
    from core.orders
    where
        ordered_at > $as_of - interval 365 days
        and ordered_at <= $as_of
    union all
    select
        contact_id,
        occurred_at as happened_at
    from core.activities
    where
        occurred_at > $as_of - interval 365 days
        and occurred_at <= $as_of
    union all
    select
        contact_id,
        occurred_at as happened_at
    from core.engagement_events
    where
        kind in ('open', 'click')
        and not is_machine
        and occurred_at > $as_of - interval 365 days
        and occurred_at <= $as_of
),

silent as (
    select
        contact_id,
        max(happened_at) as last_active_at
    from deeds
    group by contact_id
    having max(happened_at) <= $as_of - interval 180 days
)

select
    silent.contact_id,
    silent.last_active_at
from silent
where exists (
    -- Without tracked mail in those 180 days an open is unknown, and so is silence.
    select 1
    from core.engagement
    where
        engagement.contact_id = silent.contact_id
        and engagement.last_tracked_sent_at > $as_of - interval 180 days
        and engagement.last_tracked_sent_at <= $as_of
)
