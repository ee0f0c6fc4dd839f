with carts as (
    select *
    from core.activities
    where
        kind = 'cart'
        and occurred_at > timestamptz :'as_of' - interval '30 days'
        and occurred_at <= timestamptz :'as_of' - interval '24 hours'
),

abandoned as (
    select distinct on (contact_id)
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
            and orders.amount_minor >= 0
            and orders.ordered_at between carts.occurred_at and carts.occurred_at + interval '24 hours'
            and orders.ordered_at > timestamptz :'as_of' - interval '30 days'
    )
    order by
        contact_id,
        occurred_at desc,
        activity_id desc
)

select
    abandoned.contact_id,
    abandoned.occurred_at as cart_at,
    abandoned.product_id,
    products.name as product_name
from abandoned
left join core.products on products.product_id = abandoned.product_id
