/*
description: "VIPs at risk: they bought much and often, and now have not for long"
owner: team:analytics
grain: one row per contact
status: live
refresh: weekly
checks:
  rows_at_least: 0
*/
select
    vip.contact_id,
    vip.orders,
    vip.revenue_minor,
    vip.currency,
    at_risk.last_ordered_at,
    at_risk.days_since_order
from segments.vip
inner join segments.at_risk
    on at_risk.contact_id = vip.contact_id
