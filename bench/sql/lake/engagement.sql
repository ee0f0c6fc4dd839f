-- Rows: one per contact who was ever sent a message or did something; the deeds are those of the events.
with sent as (
    select
        contact_id,
        -- Most had a message last month; who left or bounced had the last one longer ago.
        getvariable('as_of_us') - (86400e6 * case
            when draw(contact_id, 7) < 0.88 then 1 + 28 * draw(contact_id, 8)
            else 30 + 900 * draw(contact_id, 8)
        end)::bigint as sent_us,
        draw(contact_id, 9) < 0.75 as is_tracked
    from range(1 + $low, 1 + $high) as numbers (contact_id)
    where draw(contact_id, 6) < 0.92
),

recent as (
    select
        *,
        make_timestamptz(sent_us) as last_sent_at,
        greatest(0, 13 - (getvariable('as_of_us') - sent_us) // 604800000000) as sent_90_days
    from sent
),

done as (
    select
        contact_id,
        max(occurred_at) filter (where kind = 'open') as last_opened_at,
        max(occurred_at) filter (where kind = 'click') as last_clicked_at,
        count(*) filter (where kind = 'open' and is_recent) as opened_90_days,
        count(*) filter (where kind = 'click' and is_recent) as clicked_90_days
    from (
        select
            contact_id,
            kind,
            occurred_at,
            occurred_at > make_timestamptz(getvariable('as_of_us') - 7776000000000) as is_recent
        from core.engagement_events
        where not is_machine
    )
    group by contact_id
)

select
    contact_id,
    last_sent_at,
    case when is_tracked then last_sent_at end as last_tracked_sent_at,
    last_opened_at,
    last_clicked_at,
    coalesce(sent_90_days, 0) as sent_90_days,
    case when is_tracked then sent_90_days else 0 end as tracked_sent_90_days,
    coalesce(opened_90_days, 0) as opened_90_days,
    coalesce(clicked_90_days, 0) as clicked_90_days
from recent
full join done using (contact_id)
