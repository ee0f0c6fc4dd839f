/*
description: What each buyer bought, in how many orders, how often, and when the next is expected
owner: team:analytics
grain: one row per contact with at least one purchase
status: live
refresh: daily
*/
-- A purchase is a completed order that is no return. A return may come as a cancelled invoice with
-- a negative amount: it is no purchase, and its amount is taken off.
-- Money of two currencies is never added up: of a buyer with two, the one of most purchases counts
-- for money (of several, that of the latest purchase), and orders and days count whatever was paid in.
with turnover as (
    select
        contact_id,
        ordered_at,
        amount_minor,
        currency,
        coalesce(amount_minor, 0) >= 0 as is_purchase
    from core.orders
    where
        (status = 'completed' or amount_minor < 0)
        and ordered_at <= $as_of
),

by_currency as (
    select
        contact_id,
        currency,
        count(*) filter (where is_purchase) as orders,
        sum(amount_minor) as revenue_minor,
        avg(amount_minor) filter (where is_purchase) as average_order_minor,
        max(ordered_at) filter (where is_purchase) as last_ordered_at
    from turnover
    group by
        contact_id,
        currency
),

money as (
    select
        contact_id,
        currency,
        revenue_minor,
        average_order_minor
    from by_currency
    qualify row_number() over (
        partition by contact_id
        order by orders desc, last_ordered_at desc nulls last, currency
    ) = 1
),

order_days as (
    -- Two orders of one day are one visit to the shop, so they make no rhythm of zero days.
    select
        contact_id,
        cast(ordered_at as date) as ordered_on,
        count(*) as orders,
        min(ordered_at) as first_ordered_at,
        max(ordered_at) as last_ordered_at
    from turnover
    where is_purchase
    group by
        contact_id,
        cast(ordered_at as date)
),

spaced as (
    select
        contact_id,
        orders,
        first_ordered_at,
        last_ordered_at,
        ordered_on
            - lag(ordered_on) over (partition by contact_id order by ordered_on) as days_since_last
    from order_days
),

rhythm as (
    select
        contact_id,
        sum(orders) as orders,
        min(first_ordered_at) as first_ordered_at,
        max(last_ordered_at) as last_ordered_at,
        median(days_since_last) as median_days_between_orders,
        avg(days_since_last) as average_days_between_orders
    from spaced
    group by contact_id
)

select
    rhythm.contact_id,  -- the buyer
    cast(rhythm.orders as bigint) as orders,  -- purchases ever
    cast(money.revenue_minor as bigint) as revenue_minor,  -- returns taken off; minor units
    cast(round(money.average_order_minor) as bigint) as average_order_minor,  -- of purchases alone
    money.currency,  -- of the two amounts
    rhythm.first_ordered_at,
    rhythm.last_ordered_at,
    rhythm.median_days_between_orders,  -- null: bought on one day only
    rhythm.average_days_between_orders,  -- likewise
    cast(rhythm.last_ordered_at as date)
        + cast(round(rhythm.median_days_between_orders) as integer)
        as expected_order_on  -- last order and the median; null: no rhythm yet
from rhythm
inner join money
    on money.contact_id = rhythm.contact_id
