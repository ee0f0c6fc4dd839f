select
    contact_id,
    count(*) as clicks,
    max(occurred_at) as last_clicked_at
from core.engagement_events
where
    kind = 'click'
    and not is_machine
    and occurred_at > timestamptz :'as_of' - interval '60 days'
    and occurred_at <= timestamptz :'as_of'
    and not exists (
        select 1
        from core.orders
        where
            orders.contact_id = engagement_events.contact_id
            and orders.status = 'completed'
            and orders.amount_minor >= 0
            and orders.ordered_at > timestamptz :'as_of' - interval '180 days'
            and orders.ordered_at <= timestamptz :'as_of'
    )
group by contact_id
