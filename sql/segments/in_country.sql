/*
description: Contacts who live in $country, as their source says
owner: team:analytics
grain: one row per contact
status: live
refresh: on_change
parameters:
  country: {default: FR, description: "which country, as ISO 3166-1 alpha-2"}
checks:
  rows_at_least: 0
*/
select
    contact_id,
    country
from core.contacts
where upper(country) = upper($country)
