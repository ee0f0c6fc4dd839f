/*
description: Contacts whose first purchase was whole years ago on the day of as_of or one of the six after
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
checks:
  rows_at_least: 0
*/
with days as (
    select cast($as_of as date) + ahead as anniversary_on
    from (values (0), (1), (2), (3), (4), (5), (6)) as week (ahead)
),

anniversaries as (
    select
        anniversary_on,
        month(anniversary_on) * 100 + day(anniversary_on) as month_and_day
    from days
    union all
    -- A purchase of 29 February has its anniversary on the 28th of a year without that day.
    select
        anniversary_on,
        229 as month_and_day
    from days
    where
        day(anniversary_on) = 28
        and day(last_day(anniversary_on)) = 28
),

first_orders as (
    select
        contact_id,
        min(ordered_at) as first_ordered_at
    from core.orders
    where
        status = 'completed'
        -- A return is no purchase.
        and coalesce(amount_minor, 0) >= 0
        and ordered_at <= $as_of
    group by contact_id
)

select
    first_orders.contact_id,
    first_orders.first_ordered_at,
    anniversaries.anniversary_on,
    year(anniversaries.anniversary_on) - year(first_orders.first_ordered_at) as years
from first_orders
inner join anniversaries
    on anniversaries.month_and_day
    = month(first_orders.first_ordered_at) * 100 + day(first_orders.first_ordered_at)
where year(anniversaries.anniversary_on) > year(first_orders.first_ordered_at)
