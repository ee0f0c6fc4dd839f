/*
description: Contacts of the loyalty level $level, as their source says
owner: team:analytics
grain: one row per contact
status: live
refresh: on_change
parameters:
  level: {default: gold, description: "which level"}
checks:
  rows_at_least: 0
*/
select
    contact_id,
    json_extract_string(attributes, '$.loyalty_level') as loyalty_level
from core.contacts
where lower(json_extract_string(attributes, '$.loyalty_level')) = lower($level)
