/*
description: Contacts who signed up at least $days days ago and never bought
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
parameters:
  days: {default: 14, description: "how many days since they signed up at least"}
checks:
  rows_at_least: 0
*/
select
    contacts.contact_id,
    contacts.created_at as signed_up_at
from core.contacts
where
    -- Null where the source does not say: then nobody knows whether they had the time to buy.
    contacts.created_at <= $as_of - to_days($days)
    and not exists (
        select 1
        from core.orders
        where
            orders.contact_id = contacts.contact_id
            and orders.status = 'completed'
            and coalesce(orders.amount_minor, 0) >= 0
            and orders.ordered_at <= $as_of
    )
