select
    engagement.contact_id,
    engagement.last_tracked_sent_at
from core.engagement
where
    engagement.last_tracked_sent_at > timestamptz :'as_of' - interval '90 days'
    and engagement.last_tracked_sent_at <= timestamptz :'as_of'
    and not exists (
        select 1
        from core.engagement_events
        where
            engagement_events.contact_id = engagement.contact_id
            and engagement_events.kind = 'open'
            and not engagement_events.is_machine
            and engagement_events.occurred_at > timestamptz :'as_of' - interval '90 days'
            and engagement_events.occurred_at <= timestamptz :'as_of'
    )
