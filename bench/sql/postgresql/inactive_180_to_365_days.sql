with deeds as (
    select
        contact_id,
        ordered_at as happened_at
    from core.orders
    union all
    select
        contact_id,
        occurred_at as happened_at
    from core.activities
    union all
    select
        contact_id,
        occurred_at as happened_at
    from core.engagement_events
    where
        kind in ('open', 'click')
        and not is_machine
)

select
    contact_id,
    max(happened_at) as last_active_at
from deeds
where
    happened_at > timestamptz :'as_of' - interval '365 days'
    and happened_at <= timestamptz :'as_of'
    and contact_id in (
        select contact_id
        from core.engagement
        where
            last_tracked_sent_at > timestamptz :'as_of' - interval '180 days'
            and last_tracked_sent_at <= timestamptz :'as_of'
    )
group by contact_id
having max(happened_at) <= timestamptz :'as_of' - interval '180 days'
