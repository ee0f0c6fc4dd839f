-- One row per kind of event: everything recorded, and what is left without machines.
select
    kind,
    count(*) as events,
    count(*) filter (where not is_machine) as human_events,
    count(distinct contact_id) as people,
    count(distinct contact_id) filter (where not is_machine) as human_people
from core.engagement_events
where campaign = $campaign
group by kind
order by kind
