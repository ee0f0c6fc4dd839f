/*
description: Contacts who bought before, and not in the last $days days
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
parameters:
  days: {default: 180, description: "how many days without a purchase"}
checks:
  rows_at_least: 0
*/
select
    contact_id,
    count(*) as orders,
    max(ordered_at) as last_ordered_at,
    date_diff('day', cast(max(ordered_at) as date), cast($as_of as date)) as days_since_order
from core.orders
where
    status = 'completed'
    -- A return is no purchase.
    and coalesce(amount_minor, 0) >= 0
    and ordered_at <= $as_of
group by contact_id
having max(ordered_at) <= $as_of - to_days($days)
