/*
description: Contacts with two or more purchases who spent more than half in one category
owner: team:analytics
grain: one row per contact
status: live
refresh: weekly
checks:
  rows_at_least: 0
*/
with repeat_buyers as (
    select contact_id
    from core.orders
    where
        status = 'completed'
        and coalesce(amount_minor, 0) >= 0
        and ordered_at <= $as_of
    group by contact_id
    having
        count(*) >= 2
        -- Money of two currencies is never added up: who paid in two is not judged.
        and coalesce(min(currency) = max(currency), true)
),

categories as (
    select
        orders.contact_id,
        products.category,
        sum(order_lines.amount_minor) as revenue_minor
    from core.orders
    inner join core.order_lines
        on order_lines.order_id = orders.order_id
    -- What is in no category, such as postage, is spending all the same.
    left join core.products
        on products.product_id = order_lines.product_id
    where
        orders.contact_id in (select contact_id from repeat_buyers)
        -- A return may come as a cancelled invoice; it is taken off its category.
        and (orders.status = 'completed' or orders.amount_minor < 0)
        and orders.ordered_at <= $as_of
    group by
        orders.contact_id,
        products.category
    having sum(order_lines.amount_minor) > 0
),

spending as (
    select
        contact_id,
        max_by(category, revenue_minor) filter (where category is not null) as favourite_category,
        max(revenue_minor) filter (where category is not null) as favourite_minor,
        sum(revenue_minor) as revenue_minor
    from categories
    group by contact_id
)

select
    contact_id,
    favourite_category,
    favourite_minor / revenue_minor as share_of_spending
from spending
-- More than half can be only one category's, so no tie is ever broken.
where favourite_minor * 2 > revenue_minor
