/*
description: No two members have the same address, so that nobody gets the same message twice
owner: team:analytics
*/
with shared as (
    select contacts.address_normalised
    from members
    inner join core.contacts
        on contacts.contact_id = members.contact_id
    where contacts.address_normalised is not null
    group by contacts.address_normalised
    having count(*) > 1
)

select members.contact_id
from members
inner join core.contacts
    on contacts.contact_id = members.contact_id
inner join shared
    on shared.address_normalised = contacts.address_normalised
