with days as (
    select $as_of::date + ahead::integer as birthday_on
    from range(0, 7) as week (ahead)
),

birthdays as (
    select
        birthday_on,
        strftime(birthday_on, '%m%d') as month_and_day
    from days
    union all
    select
        birthday_on,
        '0229' as month_and_day
    from days
    where
        strftime(birthday_on, '%m%d') = '0228'
        and day(last_day(birthday_on)) = 28
)

select
    contacts.contact_id,
    contacts.country,
    birthdays.birthday_on
from core.contacts as contacts
inner join birthdays on birthdays.month_and_day = strftime(contacts.birth_on, '%m%d')
where
    contacts.country = $country
    and contacts.birth_on < birthdays.birthday_on
    and contacts.created_at <= $as_of
