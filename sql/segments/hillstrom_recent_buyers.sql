/*
description: Customers of the Hillstrom data who bought in the last $months months
owner: team:analytics
grain: one row per contact
status: live
refresh: on_change
parameters:
  months: {default: 3, description: "how many months since the last purchase at most"}
checks:
  rows_at_least: 0
*/
select contact_id
from core.contacts
where
    source = 'hillstrom'
    and try_cast(json_extract_string(attributes, '$.recency_months') as integer) <= $months
