/*
description: The tenth of last year's buyers who spent most, returns taken off
owner: team:analytics
grain: one row per contact
status: live
refresh: weekly
*/
with spending as (
    select
        contact_id,
        sum(amount_minor) as revenue_minor
    from core.orders
    where
        ordered_at > $as_of - interval 12 months
        and ordered_at <= $as_of
    group by contact_id
    having sum(amount_minor) > 0
),

ranked as (
    select
        contact_id,
        revenue_minor,
        -- Ties are broken by id, so that the same data gives the same people.
        row_number() over (order by revenue_minor desc, contact_id) as place,
        count(*) over () as buyers
    from spending
)

select
    contact_id,
    revenue_minor
from ranked
where place <= ceil(buyers / 10.0)
