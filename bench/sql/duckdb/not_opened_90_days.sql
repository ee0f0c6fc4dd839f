select
    contact_id,
    last_tracked_sent_at
from core.engagement
where
    last_tracked_sent_at > $as_of - interval 90 days
    and last_tracked_sent_at <= $as_of
    and contact_id not in (
        select contact_id
        from core.engagement_events
        where
            kind = 'open'
            and not is_machine
            and occurred_at > $as_of - interval 90 days
            and occurred_at <= $as_of
    )
