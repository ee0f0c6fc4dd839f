-- One row per clicked link of the message; machine clicks are counted apart.
select
    link,
    count(*) filter (where not is_machine) as clicks,
    count(distinct contact_id) filter (where not is_machine) as people,
    count(*) filter (where is_machine) as machine_clicks
from core.engagement_events
where campaign = $campaign
    and kind = 'click'
    and link is not null
group by link
order by people desc, clicks desc, link
