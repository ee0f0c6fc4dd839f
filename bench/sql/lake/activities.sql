-- Rows: one per view or cart. A fifth are carts; of these, a third were ordered within two hours.
with numbered as (
    select
        i,
        i % 5 = 0 as is_cart,
        i % 5 = 0 and draw(i, 30) < 0.35 as is_ordered,
        ((i + 0.5) / getvariable('activities') * getvariable('orders'))::bigint as o
    from range($low, $high) as numbers (i)
),

placed as (
    select
        *,
        case when is_ordered then order_contact(o) else contact_of(i, 31) end as contact_id,
        case
            when is_ordered then order_us(o) - 1000000 * (30 + draw(i, 33) * 7000)::bigint
            else us_at(i, getvariable('activities')) // 1000 * 1000
        end as at_us
    from numbered
)

select
    'shop:a' || (1000000000 + i) as activity_id,
    contact_id,
    case when is_cart then 'cart' else 'view' end as kind,
    make_timestamptz(at_us) as occurred_at,
    'shop:P' || case
        when is_ordered then order_product(o, 1)
        when draw(i, 34) < 0.45 then liked(contact_id, draw(i, 35))
        else floor(504 * pow(draw(i, 35), 2))::bigint
    end as product_id,
    'shop' as source
from placed
