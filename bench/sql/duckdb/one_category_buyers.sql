with repeat_buyers as (
    select contact_id
    from core.orders
    where
        status = 'completed'
        and amount_minor >= 0
        and ordered_at <= $as_of
    group by contact_id
    having
        count(*) >= 2
        and min(currency) = max(currency)
),

categories as (
    select
        orders.contact_id,
        products.category,
        sum(lines.amount_minor) as revenue_minor
    from core.orders as orders
    semi join repeat_buyers using (contact_id)
    inner join core.order_lines as lines on lines.order_id = orders.order_id
    left join core.products as products on products.product_id = lines.product_id
    where
        (orders.status = 'completed' or orders.amount_minor < 0)
        and orders.ordered_at <= $as_of
    group by
        orders.contact_id,
        products.category
    having sum(lines.amount_minor) > 0
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
where favourite_minor * 2 > revenue_minor
