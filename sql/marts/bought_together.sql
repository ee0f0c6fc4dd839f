/*
description: For each product, what the people who bought it bought as well within a year, most telling first
owner: team:analytics
grain: one row per product and one of up to ten others
status: live
refresh: weekly
*/
-- What nearly everybody buys stands beside everything: `lift` says how much more often its buyers
-- bought the other one than all buyers did, and the order is by lift weighted with how many they are.
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
        and orders.ordered_at > $as_of - to_days(365)
        and orders.ordered_at <= $as_of
    group by
        orders.contact_id,
        order_lines.product_id
    -- A reseller with a thousand products would make a million pairs and say little with each.
    qualify row_number() over (
        partition by orders.contact_id
        order by max(orders.ordered_at) desc, order_lines.product_id
    ) <= 20
),

buyers as (
    select
        product_id,
        count(*) as buyers
    from bought
    group by product_id
),

everybody as (
    select count(distinct contact_id) as buyers
    from bought
),

pairs as (
    select
        one.product_id,
        other.product_id as other_id,
        count(*) as both_buyers
    from bought as one
    inner join bought as other
        on other.contact_id = one.contact_id
        and other.product_id <> one.product_id
    group by
        one.product_id,
        other.product_id
    -- Two people may agree by accident.
    having count(*) >= 3
),

told as (
    select
        pairs.product_id,
        pairs.other_id,
        pairs.both_buyers,
        pairs.both_buyers / of_one.buyers as share_of_buyers,
        pairs.both_buyers * everybody.buyers / (of_one.buyers * of_other.buyers) as lift
    from pairs
    inner join buyers as of_one
        on of_one.product_id = pairs.product_id
    inner join buyers as of_other
        on of_other.product_id = pairs.other_id
    cross join everybody
)

select
    product_id,
    other_id,  -- bought by the same people
    both_buyers,  -- people who bought both, 3 or more
    share_of_buyers,  -- of the product's buyers, 0 to 1
    lift,  -- 1: no more often than anybody
    row_number() over (
        partition by product_id
        order by ln(1 + both_buyers) * lift desc, both_buyers desc, other_id
    ) as rank
from told
where lift > 1
qualify rank <= 10
