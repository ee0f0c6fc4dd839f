/*
description: Contacts who live in $city ($country), however its capitals and spaces are written
owner: team:analytics
grain: one row per contact
status: live
refresh: on_change
parameters:
  city: {default: Paris, description: "which city, as the source writes it"}
  country: {default: FR, description: "which country, as ISO 3166-1 alpha-2"}
checks:
  rows_at_least: 0
*/
-- There is a Paris in Texas: a city is of a country.
select
    contact_id,
    city,
    country
from core.contacts
where
    lower(trim(city)) = lower(trim($city))
    and upper(country) = upper($country)
