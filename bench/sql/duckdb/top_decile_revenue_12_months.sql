with spending as (
    select
        contact_id,
        currency,
        sum(amount_minor) as revenue_minor
    from core.orders
    where
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
        *,
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
