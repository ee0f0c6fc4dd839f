/*
description: Contacts who signed up in the last $days days
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
parameters:
  days: {default: 30, description: "how many days back"}
checks:
  rows_at_least: 0
*/
select
    contact_id,
    created_at as signed_up_at
from core.contacts
where
    created_at > $as_of - to_days($days)
    and created_at <= $as_of
