/*
description: Contacts with exactly one purchase, made at least $days days ago
owner: team:analytics
grain: one row per contact
status: live
refresh: weekly
parameters:
  days: {default: 90, description: "how many days ago at least"}
*/
select
    contact_id,
    max(ordered_at) as ordered_at
from core.orders
where
    status = 'completed'
    -- A return is no second purchase.
    and coalesce(amount_minor, 0) >= 0
    and ordered_at <= $as_of
group by contact_id
having
    count(*) = 1
    and max(ordered_at) <= $as_of - to_days($days)
