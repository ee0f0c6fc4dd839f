/*
description: Contacts who viewed a product in the last $days days and have not bought it since
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
parameters:
  days: {default: 14, description: "how many days back"}
checks:
  rows_at_least: 0
*/
with viewed as (
    select
        contact_id,
        product_id,
        count(*) as views,
        max(occurred_at) as viewed_at,
        min(occurred_at) as first_viewed_at
    from core.activities
    where
        kind = 'view'
        and product_id is not null
        and occurred_at > $as_of - to_days($days)
        and occurred_at <= $as_of
    group by
        contact_id,
        product_id
),

bought as (
    select
        orders.contact_id,
        order_lines.product_id,
        max(orders.ordered_at) as ordered_at
    from core.orders
    inner join core.order_lines
        on order_lines.order_id = orders.order_id
    where
        orders.status = 'completed'
        and order_lines.quantity > 0
        and orders.ordered_at > $as_of - to_days($days)
        and orders.ordered_at <= $as_of
    group by
        orders.contact_id,
        order_lines.product_id
),

wanted as (
    select
        viewed.contact_id,
        viewed.product_id,
        viewed.views,
        viewed.viewed_at
    from viewed
    left join bought
        on bought.contact_id = viewed.contact_id
        and bought.product_id = viewed.product_id
        -- Bought after the first view: whoever looks again at what was bought has bought it.
        and bought.ordered_at >= viewed.first_viewed_at
    where bought.contact_id is null
    -- The product viewed last speaks for the contact; ties are broken by id.
    qualify row_number() over (
        partition by viewed.contact_id
        order by viewed.viewed_at desc, viewed.product_id
    ) = 1
)

select
    wanted.contact_id,
    wanted.product_id,
    products.name as product_name,
    wanted.views,
    wanted.viewed_at
from wanted
left join core.products
    on products.product_id = wanted.product_id
