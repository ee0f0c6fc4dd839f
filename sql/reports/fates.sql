-- One row per decision, reason and state of the mail, and how many people it befell. Reads people.
select
    decision,
    reason,
    state,
    count(*) as people
from people
group by decision, reason, state
order by people desc, decision, reason, state
