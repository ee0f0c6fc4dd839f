/*
description: Contacts with $orders purchases or more, the last $days to $lost_days days ago
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
parameters:
  orders: {default: 2, description: "how many purchases at least"}
  days: {default: 180, description: "how many days without a purchase"}
  lost_days: {default: 730, description: "after how many days nobody is asked any more"}
checks:
  rows_at_least: 0
  no_rows: [everybody_has_an_address, everybody_has_bought]
*/
select
    customer_value.contact_id,
    customer_value.orders,
    customer_value.last_ordered_at,
    date_diff('day', cast(customer_value.last_ordered_at as date), cast($as_of as date))
        as days_since_order,
    -- Null where no line of an order is of a category.
    product_affinity.category as favourite_category
from marts.customer_value
left join marts.product_affinity
    on product_affinity.contact_id = customer_value.contact_id
    and product_affinity.rank = 1
where
    customer_value.orders >= $orders
    and customer_value.last_ordered_at <= $as_of - to_days($days)
    and customer_value.last_ordered_at > $as_of - to_days($lost_days)
