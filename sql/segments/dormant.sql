/*
description: Contacts who were sent $messages or more tracked messages in $days days and did nothing in them
owner: team:analytics
grain: one row per contact
status: live
refresh: weekly
parameters:
  days: {default: 180, description: "how many days without any sign of life"}
  messages: {default: 3, description: "how many tracked messages in these days at least"}
checks:
  rows_at_least: 0
*/
with tracked as (
    -- An open is unknown, not false, for people without tracking consent, and so is silence.
    select
        contact_id,
        count(*) as tracked_sent,
        max(settled_at) as last_tracked_sent_at
    from campaigns.sends
    where
        is_tracked
        and state in ('accepted', 'confirmed_sent')
        and settled_at > $as_of - to_days($days)
        and settled_at <= $as_of
    group by contact_id
    having count(*) >= $messages
)

select
    tracked.contact_id,
    tracked.tracked_sent,
    tracked.last_tracked_sent_at
from tracked
where
    not exists (
        select 1
        from core.engagement_events
        where
            engagement_events.contact_id = tracked.contact_id
            and engagement_events.kind in ('open', 'click')
            and not engagement_events.is_machine
            and engagement_events.occurred_at > $as_of - to_days($days)
            and engagement_events.occurred_at <= $as_of
    )
    and not exists (
        -- A cancelled order or a return is a sign of life as well.
        select 1
        from core.orders
        where
            orders.contact_id = tracked.contact_id
            and orders.ordered_at > $as_of - to_days($days)
            and orders.ordered_at <= $as_of
    )
    and not exists (
        select 1
        from core.activities
        where
            activities.contact_id = tracked.contact_id
            and activities.occurred_at > $as_of - to_days($days)
            and activities.occurred_at <= $as_of
    )
