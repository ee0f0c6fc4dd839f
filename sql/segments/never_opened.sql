/*
description: Contacts who were sent $messages or more tracked messages and never opened or clicked one
owner: team:analytics
grain: one row per contact
status: live
refresh: weekly
parameters:
  messages: {default: 3, description: "how many tracked messages at least"}
checks:
  rows_at_least: 0
*/
with tracked as (
    -- An open is unknown, not false, for people without tracking consent: untracked mail counts for nothing.
    select
        contact_id,
        count(*) as tracked_sent,
        min(settled_at) as first_tracked_sent_at
    from campaigns.sends
    where
        is_tracked
        and state in ('accepted', 'confirmed_sent')
        and settled_at <= $as_of
    group by contact_id
    having count(*) >= $messages
)

select
    tracked.contact_id,
    tracked.tracked_sent,
    tracked.first_tracked_sent_at
from tracked
where not exists (
    -- Who clicked has read it, images shown or not.
    select 1
    from core.engagement_events
    where
        engagement_events.contact_id = tracked.contact_id
        and engagement_events.kind in ('open', 'click')
        and not engagement_events.is_machine
        and engagement_events.occurred_at <= $as_of
)
