/*
description: The tenth of the last twelve months' buyers who spent most, returns taken off
owner: team:analytics
grain: one row per contact
status: live
refresh: weekly
*/
-- Money of two currencies is never added up or compared: each currency has its own tenth, and
-- who is in two of them is in once, with the better place.
with spending as (
    select
        contact_id,
        currency,
        sum(amount_minor) as revenue_minor
    from core.orders
    where
        -- A return may come as a cancelled invoice with a negative amount.
        (status = 'completed' or amount_minor < 0)
        and ordered_at > $as_of - interval 12 months
        and ordered_at <= $as_of
    group by
        contact_id,
        currency
    having sum(amount_minor) > 0
),

ranked as (
    select
        contact_id,
        currency,
        revenue_minor,
        -- Ties are broken by id, so that the same data gives the same people.
        row_number() over (partition by currency order by revenue_minor desc, contact_id) as place,
        count(*) over (partition by currency) as buyers
    from spending
)

select
    contact_id,
    revenue_minor,
    currency
from ranked
where place <= ceil(buyers / 10.0)
qualify row_number() over (partition by contact_id order by place, currency) = 1
