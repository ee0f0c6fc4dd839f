/*
description: Contacts who bought at least once in the last 30 days
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
*/
select
    contact_id,
    max(ordered_at) as last_ordered_at
from core.orders
where
    status = 'completed'
    -- A return is no purchase.
    and coalesce(amount_minor, 0) >= 0
    and ordered_at > $as_of - interval 30 days
    and ordered_at <= $as_of
group by contact_id
