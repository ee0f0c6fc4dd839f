/*
description: Contacts who were sent tracked mail in the last 90 days and opened nothing in them
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
checks:
  rows_at_least: 0
*/
-- An open is unknown, not false, for people without tracking consent: without a tracked
-- message in the window nobody is said not to have opened. core.engagement knows the last one
-- only, so at a time long past this holds fewer people, and none who does not belong.
select
    engagement.contact_id,
    engagement.last_tracked_sent_at
from core.engagement
where
    engagement.last_tracked_sent_at > $as_of - interval 90 days
    and engagement.last_tracked_sent_at <= $as_of
    and not exists (
        select 1
        from core.engagement_events
        where
            engagement_events.contact_id = engagement.contact_id
            and engagement_events.kind = 'open'
            and not engagement_events.is_machine
            and engagement_events.occurred_at > $as_of - interval 90 days
            and engagement_events.occurred_at <= $as_of
    )
