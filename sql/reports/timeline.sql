-- One row per step since the first send and kind: human opens and clicks. $step_seconds is its width.
select
    floor(date_diff('second', $first_sent_at, occurred_at) / $step_seconds)::bigint as step,
    kind,
    count(*) as events
from core.engagement_events
where campaign = $campaign
    and kind in ('open', 'click')
    and not is_machine
    and occurred_at >= $first_sent_at
group by step, kind
order by step, kind
