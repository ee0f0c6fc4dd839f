/*
description: Buyers who spent more in the category $category than in any other
owner: team:analytics
grain: one row per contact
status: live
refresh: weekly
parameters:
  category: {default: paper, description: "which category"}
checks:
  rows_at_least: 0
*/
select
    contact_id,
    category as favourite_category,
    orders,
    units,
    share_of_spending,
    last_ordered_at
from marts.product_affinity
where
    category = $category
    and rank = 1
    -- What was sent back altogether is nobody's favourite.
    and revenue_minor > 0
