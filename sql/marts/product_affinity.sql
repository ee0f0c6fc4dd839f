/*
description: How much each buyer bought of each category, as a share of their spending and ranked
owner: team:analytics
grain: one row per contact and category bought
status: live
refresh: daily
*/
-- A return may come as a cancelled invoice with negative amounts: it is taken off its category.
-- Of a buyer who paid in two currencies only the one of marts.customer_value counts, as money of
-- two is never added up.
with lines as (
    select
        orders.contact_id,
        orders.order_id,
        orders.ordered_at,
        coalesce(orders.amount_minor, 0) >= 0 and order_lines.quantity > 0 as is_purchase,
        order_lines.quantity,
        order_lines.amount_minor,
        products.category,
        customer_value.currency
    from core.orders
    inner join marts.customer_value
        on customer_value.contact_id = orders.contact_id
        and customer_value.currency is not distinct from orders.currency
    inner join core.order_lines
        on order_lines.order_id = orders.order_id
    left join core.products
        on products.product_id = order_lines.product_id
    where
        (orders.status = 'completed' or orders.amount_minor < 0)
        and orders.ordered_at <= $as_of
),

categories as (
    select
        contact_id,
        category,
        any_value(currency) as currency,
        count(distinct order_id) filter (where is_purchase) as orders,
        sum(quantity) as units,
        sum(amount_minor) as revenue_minor,
        max(ordered_at) filter (where is_purchase) as last_ordered_at
    from lines
    group by
        contact_id,
        category
),

shared as (
    select
        contact_id,
        category,
        currency,
        orders,
        units,
        revenue_minor,
        last_ordered_at,
        -- A category that was sent back altogether is no spending, and no negative share.
        -- What is in no category, such as postage, is spending all the same.
        greatest(revenue_minor, 0)
            / nullif(sum(greatest(revenue_minor, 0)) over (partition by contact_id), 0)
            as share_of_spending
    from categories
)

select
    contact_id,  -- the buyer
    category,
    orders,  -- purchases with something of this category
    cast(units as bigint) as units,  -- returns taken off
    cast(revenue_minor as bigint) as revenue_minor,  -- returns taken off; minor units
    currency,  -- of revenue_minor
    coalesce(share_of_spending, 0) as share_of_spending,  -- 0 to 1, of all this buyer spent
    last_ordered_at,  -- the last purchase with something of this category
    row_number() over (
        partition by contact_id
        order by revenue_minor desc, units desc, category
    ) as rank  -- 1: most spent on; ties by units, then by name
from shared
where
    category is not null
    and orders > 0
