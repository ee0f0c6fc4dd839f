with repeat_buyers as (
    select contact_id
    from core.orders
    where
        status = 'completed'
        and amount_minor >= 0
        and ordered_at <= timestamptz :'as_of'
    group by contact_id
    having
        count(*) >= 2
        -- Says the same as `=`, of which the planner expects one group in 200.
        and min(currency) >= max(currency)
),

categories as (
    select
        orders.contact_id,
        products.category,
        sum(lines.amount_minor) as revenue_minor
    from core.orders
    inner join core.order_lines as lines on lines.order_id = orders.order_id
    left join core.products on products.product_id = lines.product_id
    where
        (orders.status = 'completed' or orders.amount_minor < 0)
        and orders.ordered_at <= timestamptz :'as_of'
    group by
        orders.contact_id,
        products.category
    having sum(lines.amount_minor) > 0
),

shares as (
    select
        contact_id,
        category,
        revenue_minor / sum(revenue_minor) over (partition by contact_id) as share_of_spending
    from categories
)

-- More than half is one category's at most: nobody stands here twice.
select
    contact_id,
    category as favourite_category,
    share_of_spending::double precision
from shares
where
    category is not null
    and share_of_spending > 0.5
    -- Last, not first: an index look-up for each order takes longer than to join them all.
    and contact_id in (select contact_id from repeat_buyers)
