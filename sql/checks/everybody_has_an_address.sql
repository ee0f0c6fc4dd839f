/*
description: Every member has an address that mail can be sent to
owner: team:analytics
*/
select members.contact_id
from members
left join core.contacts
    on contacts.contact_id = members.contact_id
where coalesce(trim(contacts.address), '') = ''
