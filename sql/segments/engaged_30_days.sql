/*
description: Contacts who opened or clicked a message in the last 30 days
owner: team:analytics
grain: one row per contact
status: live
refresh: daily
checks:
  rows_at_least: 0
*/
select
    contact_id,
    last_opened_at,
    last_clicked_at
from marts.engagement
where
    clicked_30_days > 0
    -- An open counts where mail was tracked; who is not in may have opened unseen.
    or (opened_30_days > 0 and last_tracked_sent_at is not null)
