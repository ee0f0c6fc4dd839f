/*
description: Buyers with $orders or more purchases whose next one is expected about now, by their own rhythm
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
parameters:
  orders: {default: 3, description: "how many purchases make a rhythm"}
  days_before: {default: 7, description: "how many days ahead an order is due"}
  days_after: {default: 14, description: "for how many days it stays due"}
checks:
  rows_at_least: 0
*/
select
    contact_id,
    expected_order_on,
    cast(round(median_days_between_orders) as integer) as usual_days_between_orders,
    last_ordered_at
from marts.customer_value
where
    orders >= $orders
    and expected_order_on <= cast(cast($as_of as date) + to_days($days_before) as date)
    and expected_order_on >= cast(cast($as_of as date) - to_days($days_after) as date)
