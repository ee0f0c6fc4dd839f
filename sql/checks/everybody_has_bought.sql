/*
description: Every member has at least one completed order, for segments of customers
owner: team:analytics
*/
select members.contact_id
from members
where not exists (
    select 1
    from core.orders
    where
        orders.contact_id = members.contact_id
        and orders.status = 'completed'
)
