-- One row per candidate of one campaign: which arm, what became of the mail, what the person did.
-- Parameters: $campaign, $start_at and $end_at (the conversion window), $first_sent_at; null
-- when nothing was sent yet.
with
candidates as (
    select
        contact_id,
        decision,
        reason,
        case decision when 'mail' then variant when 'hold_out' then 'hold_out' end as arm
    from campaigns.audience
    where campaign = $campaign
),
letters as (
    select
        contact_id,
        any_value(state) as state,
        any_value(is_tracked) as is_tracked,
        any_value(settled_at) as settled_at
    from campaigns.sends
    where campaign = $campaign
    group by contact_id
),
acts as (
    select
        contact_id,
        coalesce(bool_or(kind = 'bounce'), false) as is_bounced,
        coalesce(bool_or(kind = 'open' and not is_machine), false) as has_opened,
        coalesce(bool_or(kind = 'click' and not is_machine), false) as has_clicked,
        coalesce(bool_or(kind = 'unsubscribe'), false) as has_unsubscribed,
        coalesce(bool_or(kind = 'complaint'), false) as has_complained
    from core.engagement_events
    where campaign = $campaign
    group by contact_id
),
window_orders as (
    select
        contact_id,
        amount_minor,
        currency
    from core.orders
    where status = 'completed'
        and ordered_at >= $start_at
        and ordered_at < $end_at
),
-- Money of two currencies is never added up: the one most orders are in is shown.
main_currency as (
    select mode(window_orders.currency) as currency
    from window_orders
    inner join candidates
        on candidates.contact_id = window_orders.contact_id
        and candidates.arm is not null
),
buyers as (
    select
        window_orders.contact_id,
        bool_or(window_orders.amount_minor > 0) as has_ordered,
        sum(window_orders.amount_minor)
            filter (where window_orders.currency = main_currency.currency) as revenue_minor
    from window_orders
    cross join main_currency
    group by window_orders.contact_id
),
suppressed as (
    select distinct contact_id
    from core.suppressions
    where since_at >= $first_sent_at
        and reason in ('unsubscribed', 'complaint')
),
joined as (
    select
        candidates.contact_id,
        candidates.decision,
        candidates.reason,
        candidates.arm,
        case when candidates.decision = 'mail' then coalesce(letters.state, 'unclaimed') end as state,
        coalesce(letters.state in ('accepted', 'confirmed_sent'), false) as is_sent,
        coalesce(letters.is_tracked, false) as is_tracked,
        letters.settled_at,
        coalesce(acts.is_bounced, false) as is_bounced,
        coalesce(acts.has_opened, false) as has_opened,
        coalesce(acts.has_clicked, false) as has_clicked,
        coalesce(acts.has_unsubscribed, false) as has_unsubscribed,
        coalesce(acts.has_complained, false) as has_complained,
        suppressed.contact_id is not null as has_left,
        coalesce(buyers.has_ordered, false) as has_ordered,
        coalesce(buyers.revenue_minor, 0)::bigint as revenue_minor,
        main_currency.currency
    from candidates
    left join letters on letters.contact_id = candidates.contact_id
    left join acts on acts.contact_id = candidates.contact_id
    left join buyers on buyers.contact_id = candidates.contact_id
    left join suppressed on suppressed.contact_id = candidates.contact_id
    cross join main_currency
)
select
    contact_id,
    decision,
    reason,
    arm,
    state,
    is_sent,
    is_sent and not is_bounced as is_delivered,
    is_sent and is_bounced as is_bounced,
    is_sent and not is_bounced and is_tracked as is_seen,
    is_sent and not is_bounced and is_tracked and has_opened as has_opened,
    is_sent and not is_bounced and is_tracked and has_clicked as has_clicked,
    is_sent and has_unsubscribed as has_unsubscribed,
    is_sent and has_complained as has_complained,
    is_sent and has_left as has_left,
    has_ordered,
    revenue_minor,
    currency
from joined
