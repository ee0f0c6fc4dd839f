-- One row: how long after the first send the last human open or click came, in seconds.
select max(date_diff('second', $first_sent_at, occurred_at)) as seconds
from core.engagement_events
where campaign = $campaign
    and kind in ('open', 'click')
    and not is_machine
    and occurred_at >= $first_sent_at
