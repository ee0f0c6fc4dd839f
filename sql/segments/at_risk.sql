/*
description: Buyers who bought often and are now in the two fifths who have not bought for longest
owner: team:analytics
grain: one row per contact
status: live
refresh: weekly
checks:
  rows_at_least: 0
*/
select
    contact_id,
    frequency as orders,
    last_ordered_at,
    recency_days as days_since_order
from marts.rfm
where standing = 'at_risk'
