/*
description: Buyers in the top fifth by money and the top two fifths by number of purchases, ever
owner: team:analytics
grain: one row per contact
status: live
refresh: weekly
parameters:
  frequency_score: {default: 4, description: "from which fifth by purchases, 1 to 5"}
  monetary_score: {default: 5, description: "from which fifth by money, 1 to 5"}
checks:
  rows_at_least: 0
  no_rows: [everybody_has_bought]
*/
-- Recency is left out on purpose: a VIP who stopped buying is one still, see vip_at_risk.
select
    contact_id,
    frequency as orders,
    monetary_minor as revenue_minor,
    currency,
    last_ordered_at
from marts.rfm
where
    frequency_score >= $frequency_score
    and monetary_score >= $monetary_score
