/*
description: Contacts in $country whose birthday is on the day of as_of or one of the six days after
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
parameters:
  country: {default: FR, description: "which country, as ISO 3166-1 alpha-2"}
checks:
  rows_at_least: 0
  share_at_most: 0.2
*/
with days as (
    select cast($as_of as date) + ahead as birthday_on
    from (values (0), (1), (2), (3), (4), (5), (6)) as week (ahead)
),

birthdays as (
    select
        birthday_on,
        month(birthday_on) * 100 + day(birthday_on) as month_and_day
    from days
    union all
    -- Who was born on 29 February has the birthday on the 28th of a year without that day.
    select
        birthday_on,
        229 as month_and_day
    from days
    where
        day(birthday_on) = 28
        and day(last_day(birthday_on)) = 28
)

select
    contacts.contact_id,
    contacts.country,
    birthdays.birthday_on
from core.contacts
inner join birthdays
    on birthdays.month_and_day = month(contacts.birth_on) * 100 + day(contacts.birth_on)
where
    contacts.birth_on < birthdays.birthday_on
    and (contacts.created_at is null or contacts.created_at <= $as_of)
    and upper(contacts.country) = upper($country)
