-- One row: what the sends table holds for the campaign, counted without the audience.
select
    count(*) filter (where state <> 'unclaimed') as settled,
    count(*) filter (where state <> 'unclaimed') - count(distinct contact_id)
        filter (where state <> 'unclaimed') as repeated,
    count(*) filter (where was_resent and state in ('accepted', 'confirmed_sent', 'in_doubt')) as resent,
    min(coalesce(settled_at, claimed_at))
        filter (where state in ('accepted', 'confirmed_sent')) as first_sent_at
from campaigns.sends
where campaign = $campaign
