/*
description: Contacts who bought $product in the last $days days and kept at least one
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
parameters:
  product: {default: "shop:P100", description: "which product, as source:id"}
  days: {default: 30, description: "how many days back"}
checks:
  rows_at_least: 0
*/
select
    orders.contact_id,
    max(orders.ordered_at) filter (where order_lines.quantity > 0) as last_ordered_at,
    sum(order_lines.quantity) as units,
    (select max(name) from core.products where product_id = $product) as product_name
from core.order_lines
inner join core.orders
    on orders.order_id = order_lines.order_id
where
    order_lines.product_id = $product
    -- A return may come as a cancelled invoice: it takes off what an earlier one sold.
    and (orders.status = 'completed' or orders.amount_minor < 0)
    and orders.ordered_at > $as_of - to_days($days)
    and orders.ordered_at <= $as_of
group by orders.contact_id
having sum(order_lines.quantity) > 0
