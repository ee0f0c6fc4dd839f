/*
description: Contacts who clicked in the last $days days and bought nothing in the $bought_days days after
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
parameters:
  days: {default: 30, description: "how many days back a click counts"}
  bought_days: {default: 7, description: "how many days a click has to become a purchase"}
checks:
  rows_at_least: 0
*/
with clicks as (
    select
        event_id,
        contact_id,
        campaign,
        occurred_at
    from core.engagement_events
    where
        kind = 'click'
        and not is_machine
        and occurred_at > $as_of - to_days($days)
        -- Until its days are over nobody knows what becomes of a click.
        and occurred_at <= $as_of - to_days($bought_days)
)

select
    contact_id,
    campaign,
    occurred_at as clicked_at
from clicks
where not exists (
    select 1
    from core.orders
    where
        orders.contact_id = clicks.contact_id
        and orders.status = 'completed'
        and coalesce(orders.amount_minor, 0) >= 0
        and orders.ordered_at >= clicks.occurred_at
        and orders.ordered_at <= clicks.occurred_at + to_days($bought_days)
)
-- The last such click speaks for the contact; ties are broken by id.
qualify row_number() over (partition by contact_id order by occurred_at desc, event_id desc) = 1
