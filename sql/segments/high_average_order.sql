/*
description: The tenth of repeat buyers whose average order is highest, returns left out
owner: team:analytics
grain: one row per contact
status: live
refresh: weekly
parameters:
  share: {default: 0.1, description: "which share of repeat buyers, 0 to 1"}
  orders: {default: 2, description: "how many purchases at least: one large order is no habit"}
checks:
  rows_at_least: 0
*/
with ranked as (
    select
        contact_id,
        orders,
        average_order_minor,
        currency,
        -- Money of two currencies is not compared. Ties are broken by id.
        row_number() over (
            partition by currency
            order by average_order_minor desc, contact_id
        ) as place,
        count(*) over (partition by currency) as buyers
    from marts.customer_value
    where
        orders >= $orders
        and average_order_minor > 0
)

select
    contact_id,
    orders,
    average_order_minor,
    currency
from ranked
where place <= ceil(buyers * $share)
