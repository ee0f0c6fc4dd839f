/*
description: How much of each product was sold and sent back, to how many, in 30 and 365 days and ever
owner: team:analytics
grain: one row per product sold and currency
status: live
refresh: daily
*/
with lines as (
    select
        orders.contact_id,
        orders.order_id,
        orders.ordered_at,
        order_lines.product_id,
        order_lines.quantity,
        order_lines.amount_minor,
        order_lines.currency
    from core.orders
    inner join core.order_lines
        on order_lines.order_id = orders.order_id
    where
        -- A return may come as a cancelled invoice with a negative amount.
        (orders.status = 'completed' or orders.amount_minor < 0)
        and orders.ordered_at <= $as_of
),

sales as (
    select
        product_id,
        currency,
        count(distinct order_id) filter (where quantity > 0) as orders,
        count(distinct contact_id) filter (where quantity > 0) as buyers,
        sum(quantity) filter (where quantity > 0) as units,
        coalesce(-sum(quantity) filter (where quantity < 0), 0) as returned_units,
        sum(amount_minor) as revenue_minor,
        coalesce(sum(amount_minor) filter (where ordered_at > $as_of - interval 30 days), 0)
            as revenue_30_days_minor,
        coalesce(sum(amount_minor) filter (where ordered_at > $as_of - interval 365 days), 0)
            as revenue_365_days_minor,
        max(ordered_at) filter (where quantity > 0) as last_ordered_at
    from lines
    group by
        product_id,
        currency
)

select
    sales.product_id,
    products.name,  -- null: the product is in no list of products
    products.category,  -- likewise
    sales.currency,  -- of all amounts in the row
    sales.orders,  -- purchases with this product
    sales.buyers,  -- contacts who bought it
    cast(sales.units as bigint) as units,  -- sold, before returns
    cast(sales.returned_units as bigint) as returned_units,  -- sent back
    cast(sales.revenue_minor as bigint) as revenue_minor,  -- ever, returns taken off; minor units
    cast(sales.revenue_30_days_minor as bigint) as revenue_30_days_minor,
    cast(sales.revenue_365_days_minor as bigint) as revenue_365_days_minor,
    sales.last_ordered_at
from sales
left join core.products
    on products.product_id = sales.product_id
where sales.orders > 0
