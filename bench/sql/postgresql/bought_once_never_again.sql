select
    contact_id,
    max(ordered_at) as ordered_at
from core.orders
where
    status = 'completed'
    and amount_minor >= 0
    and ordered_at <= timestamptz :'as_of'
group by contact_id
having
    count(*) = 1
    and max(ordered_at) <= timestamptz :'as_of' - interval '90 days'
