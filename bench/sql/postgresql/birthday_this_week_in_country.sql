with days as (
    select (timestamptz :'as_of')::date + ahead as birthday_on
    from generate_series(0, 6) as week (ahead)
),

birthdays as (
    select
        birthday_on,
        extract(month from birthday_on) * 100 + extract(day from birthday_on) as month_and_day
    from days
    union all
    select
        birthday_on,
        229 as month_and_day
    from days
    where
        to_char(birthday_on, 'MMDD') = '0228'
        and to_char(birthday_on + 1, 'MMDD') = '0301'
)

select
    contacts.contact_id,
    contacts.country,
    birthdays.birthday_on
from core.contacts
inner join birthdays
    on birthdays.month_and_day
    = extract(month from contacts.birth_on) * 100 + extract(day from contacts.birth_on)
where
    contacts.country = :'country'
    and contacts.birth_on < birthdays.birthday_on
    and contacts.created_at <= timestamptz :'as_of'
