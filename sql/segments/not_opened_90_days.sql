/*
description: Contacts who were sent tracked mail in the last 90 days and opened none of it
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
*/
-- An open is unknown, not false, for people without tracking consent: without a tracked
-- message in the window nobody is said not to have opened.
select contact_id
from core.engagement
where
    last_tracked_sent_at > $as_of - interval 90 days
    and last_tracked_sent_at <= $as_of
    and (last_opened_at is null or last_opened_at <= $as_of - interval 90 days)
