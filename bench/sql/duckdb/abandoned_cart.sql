with carts as (
    select *
    from core.activities
    where
        kind = 'cart'
        and occurred_at > $as_of - interval 30 days
        and occurred_at <= $as_of - interval 24 hours
),

abandoned as (
    select *
    from carts
    where not exists (
        select 1
        from core.orders as orders
        where
            orders.contact_id = carts.contact_id
            and orders.status = 'completed'
            and orders.amount_minor >= 0
            and orders.ordered_at between carts.occurred_at and carts.occurred_at + interval 24 hours
            and orders.ordered_at > $as_of - interval 30 days
    )
    qualify row_number() over (partition by contact_id order by occurred_at desc, activity_id desc) = 1
)

select
    abandoned.contact_id,
    abandoned.occurred_at as cart_at,
    abandoned.product_id,
    products.name as product_name
from abandoned
left join core.products as products on products.product_id = abandoned.product_id
