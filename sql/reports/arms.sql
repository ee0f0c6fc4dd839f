-- One row per arm, and one ('all') for everybody to be mailed. Reads the table people.
select
    coalesce(arm, 'all') as arm,
    count(*) as people,
    count(*) filter (where is_sent) as sent,
    count(*) filter (where is_bounced) as bounced,
    count(*) filter (where is_delivered) as delivered,
    count(*) filter (where is_seen) as tracked,
    count(*) filter (where has_opened) as opened,
    count(*) filter (where has_clicked) as clicked,
    count(*) filter (where has_unsubscribed) as unsubscribed,
    count(*) filter (where has_complained) as complained,
    count(*) filter (where has_left) as suppressed,
    count(*) filter (where has_ordered) as ordered,
    sum(revenue_minor)::bigint as revenue_minor,
    sum(revenue_minor::double * revenue_minor) as revenue_squares,
    any_value(currency) as currency
from people
where arm is not null
group by grouping sets ((arm), (decision))
having grouping(arm) = 0 or decision = 'mail'
order by arm
