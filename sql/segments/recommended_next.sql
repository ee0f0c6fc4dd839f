/*
description: Contacts who bought in the last $days days, and what people with the same purchases bought as well
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
parameters:
  days: {default: 90, description: "how many days back"}
checks:
  rows_at_least: 0
*/
with bought as (
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
        and order_lines.product_id is not null
        and orders.ordered_at <= $as_of
    group by
        orders.contact_id,
        order_lines.product_id
),

recent as (
    select
        contact_id,
        product_id
    from bought
    where ordered_at > $as_of - to_days($days)
),

people as (
    select distinct contact_id
    from recent
),

fitting as (
    select
        recent.contact_id,
        bought_together.other_id as product_id,
        sum(bought_together.share_of_buyers) as score
    from recent
    inner join marts.bought_together
        on bought_together.product_id = recent.product_id
    -- What somebody has is not recommended again.
    anti join bought
        on bought.contact_id = recent.contact_id
        and bought.product_id = bought_together.other_id
    group by
        recent.contact_id,
        bought_together.other_id
    qualify row_number() over (
        partition by recent.contact_id
        order by sum(bought_together.share_of_buyers) desc, bought_together.other_id
    ) <= 4
),

lists as (
    select
        fitting.contact_id,
        list(
            {
                'id': fitting.product_id,
                'name': products.name,
                'price_minor': products.price_minor,
                'currency': products.currency
            }
            order by fitting.score desc, fitting.product_id
        ) as recommended
    from fitting
    inner join core.products
        on products.product_id = fitting.product_id
    where products.name is not null
    group by fitting.contact_id
)

select
    people.contact_id,
    lists.recommended  -- up to four, {id, name, price_minor, currency}; null: nothing is known
from people
left join lists
    on lists.contact_id = people.contact_id
