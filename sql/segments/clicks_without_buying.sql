/*
description: Contacts who clicked in the last $clicked_days days and bought nothing in the last $bought_days
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
parameters:
  clicked_days: {default: 60, description: "how many days back a click counts"}
  bought_days: {default: 180, description: "how many days without a purchase"}
checks:
  rows_at_least: 0
*/
with clickers as (
    select
        contact_id,
        count(*) as clicks,
        max(occurred_at) as last_clicked_at
    from core.engagement_events
    where
        kind = 'click'
        and not is_machine
        and occurred_at > $as_of - to_days($clicked_days)
        and occurred_at <= $as_of
    group by contact_id
)

select
    clickers.contact_id,
    clickers.clicks,
    clickers.last_clicked_at
from clickers
where not exists (
    select 1
    from core.orders
    where
        orders.contact_id = clickers.contact_id
        and orders.status = 'completed'
        and coalesce(orders.amount_minor, 0) >= 0
        and orders.ordered_at > $as_of - to_days($bought_days)
        and orders.ordered_at <= $as_of
)
