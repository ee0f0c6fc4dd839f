/*
description: Contacts who filled a cart in the last $days days and ordered nothing in the 24 hours after
owner: team:analytics
grain: one row per contact
status: live
refresh: hourly
parameters:
  days: {default: 30, description: "how many days back"}
checks:
  rows_at_least: 0
*/
with carts as (
    select
        activity_id,
        contact_id,
        occurred_at,
        product_id
    from core.activities
    where
        kind = 'cart'
        and occurred_at > $as_of - to_days($days)
        -- Until its 24 hours are over a cart is not yet abandoned.
        and occurred_at <= $as_of - interval 24 hours
),

abandoned as (
    select
        contact_id,
        occurred_at,
        product_id
    from carts
    where not exists (
        select 1
        from core.orders
        where
            orders.contact_id = carts.contact_id
            and orders.status = 'completed'
            and coalesce(orders.amount_minor, 0) >= 0
            and orders.ordered_at >= carts.occurred_at
            and orders.ordered_at <= carts.occurred_at + interval 24 hours
            -- Follows from the two lines above; said again so that older orders are not read.
            and orders.ordered_at > $as_of - to_days($days)
    )
    -- The last cart speaks for the contact; ties are broken by id.
    qualify row_number() over (partition by contact_id order by occurred_at desc, activity_id desc) = 1
)

select
    abandoned.contact_id,
    abandoned.occurred_at as cart_at,
    abandoned.product_id,
    products.name as product_name
from abandoned
left join core.products
    on products.product_id = abandoned.product_id
