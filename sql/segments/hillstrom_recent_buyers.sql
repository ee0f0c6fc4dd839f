/*
description: Customers of the Hillstrom data who bought in the last three months
owner: team:analytics
grain: one row per contact
status: live
refresh: weekly
*/
select contact_id
from core.contacts
where
    source = 'hillstrom'
    and try_cast(json_extract_string(attributes, '$.recency_months') as integer) <= 3
