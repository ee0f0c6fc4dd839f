select
    contact_id,
    count(*) as clicks,
    max(occurred_at) as last_clicked_at
from core.engagement_events
where
    kind = 'click'
    and not is_machine
    and occurred_at <= timestamptz :'as_of'
group by contact_id
having count(*) >= 3
