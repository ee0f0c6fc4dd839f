/*
description: Contacts who clicked links of our mail $clicks times or more, ever
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
parameters:
  clicks: {default: 3, description: "how many clicks at least"}
checks:
  rows_at_least: 0
*/
select
    contact_id,
    count(*) as clicks,
    max(occurred_at) as last_clicked_at
from core.engagement_events
where
    kind = 'click'
    and not is_machine
    and occurred_at <= $as_of
group by contact_id
having count(*) >= $clicks
