select
    contact_id,
    count(*) as clicks,
    max(occurred_at) as last_clicked_at
from core.engagement_events
where
    kind = 'click'
    and not is_machine
    and occurred_at > $as_of - interval 60 days
    and occurred_at <= $as_of
    and contact_id not in (
        select contact_id
        from core.orders
        where
            status = 'completed'
            and amount_minor >= 0
            and ordered_at > $as_of - interval 180 days
            and ordered_at <= $as_of
    )
group by contact_id
