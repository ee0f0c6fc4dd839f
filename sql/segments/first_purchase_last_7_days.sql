/*
description: Contacts whose first purchase ever was in the last 7 days
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
checks:
  rows_at_least: 0
*/
with first_orders as (
    select
        contact_id,
        min(ordered_at) as first_ordered_at
    from core.orders
    where
        status = 'completed'
        -- A return is no purchase.
        and coalesce(amount_minor, 0) >= 0
        and ordered_at <= $as_of
    group by contact_id
)

select
    contact_id,
    first_ordered_at
from first_orders
where first_ordered_at > $as_of - interval 7 days
