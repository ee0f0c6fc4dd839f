/*
description: What every contact was sent, opened and clicked, in 30, 90 and 365 days and last
owner: team:analytics
grain: one row per contact who was ever sent a message, opened one or clicked in one
status: live
refresh: daily
*/
-- Opens mean something only beside tracked sends: with none of these they are unknown, not zero.
with sent as (
    select
        contact_id,
        count(*) filter (where settled_at > $as_of - interval 30 days) as sent_30_days,
        count(*) filter (where settled_at > $as_of - interval 90 days) as sent_90_days,
        count(*) filter (where settled_at > $as_of - interval 365 days) as sent_365_days,
        count(*) filter (where is_tracked and settled_at > $as_of - interval 30 days)
            as tracked_sent_30_days,
        count(*) filter (where is_tracked and settled_at > $as_of - interval 90 days)
            as tracked_sent_90_days,
        count(*) filter (where is_tracked and settled_at > $as_of - interval 365 days)
            as tracked_sent_365_days,
        max(settled_at) as last_sent_at,
        max(settled_at) filter (where is_tracked) as last_tracked_sent_at
    from campaigns.sends
    where
        -- The states in which a message went out.
        state in ('accepted', 'confirmed_sent')
        and settled_at <= $as_of
    group by contact_id
),

done as (
    select
        contact_id,
        count(*) filter (where kind = 'open' and occurred_at > $as_of - interval 30 days)
            as opened_30_days,
        count(*) filter (where kind = 'open' and occurred_at > $as_of - interval 90 days)
            as opened_90_days,
        count(*) filter (where kind = 'open' and occurred_at > $as_of - interval 365 days)
            as opened_365_days,
        count(*) filter (where kind = 'click' and occurred_at > $as_of - interval 30 days)
            as clicked_30_days,
        count(*) filter (where kind = 'click' and occurred_at > $as_of - interval 90 days)
            as clicked_90_days,
        count(*) filter (where kind = 'click' and occurred_at > $as_of - interval 365 days)
            as clicked_365_days,
        max(occurred_at) filter (where kind = 'open') as last_opened_at,
        max(occurred_at) filter (where kind = 'click') as last_clicked_at
    from core.engagement_events
    where
        kind in ('open', 'click')
        and not is_machine
        and occurred_at <= $as_of
    group by contact_id
)

select
    coalesce(sent.contact_id, done.contact_id) as contact_id,  -- whose figures these are
    coalesce(sent.sent_30_days, 0) as sent_30_days,  -- messages the relay took
    coalesce(sent.sent_90_days, 0) as sent_90_days,
    coalesce(sent.sent_365_days, 0) as sent_365_days,
    coalesce(sent.tracked_sent_30_days, 0) as tracked_sent_30_days,  -- of these, opens could be seen
    coalesce(sent.tracked_sent_90_days, 0) as tracked_sent_90_days,
    coalesce(sent.tracked_sent_365_days, 0) as tracked_sent_365_days,
    coalesce(done.opened_30_days, 0) as opened_30_days,  -- opens, one message may have many
    coalesce(done.opened_90_days, 0) as opened_90_days,
    coalesce(done.opened_365_days, 0) as opened_365_days,
    coalesce(done.clicked_30_days, 0) as clicked_30_days,  -- clicks, likewise
    coalesce(done.clicked_90_days, 0) as clicked_90_days,
    coalesce(done.clicked_365_days, 0) as clicked_365_days,
    sent.last_sent_at,  -- null: never sent anything
    sent.last_tracked_sent_at,  -- null: an open could never have been seen
    done.last_opened_at,
    done.last_clicked_at
from sent
full outer join done
    on done.contact_id = sent.contact_id
