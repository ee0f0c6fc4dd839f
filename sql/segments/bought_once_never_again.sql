/*
description: Contacts with exactly one purchase, made at least 90 days ago
owner: team:analytics
grain: one row per contact
status: live
refresh: weekly
*/
select
    contact_id,
    max(ordered_at) as ordered_at
from core.orders
where
    status = 'completed'
    and ordered_at <= $as_of
group by contact_id
having
    count(*) = 1
    and max(ordered_at) <= $as_of - interval 90 days
