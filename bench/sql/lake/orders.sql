-- Rows: one per order.
select
    'shop:' || (100000000 + i) as order_id,
    order_contact(i) as contact_id,
    make_timestamptz(order_us(i)) as ordered_at,
    order_line_minor(i, 1)
    + case when order_lines_of(i) > 1 then order_line_minor(i, 2) else 0 end
    + case when order_lines_of(i) > 2 then order_line_minor(i, 3) else 0 end as amount_minor,
    'EUR' as currency,
    case when draw(i, 26) < 0.03 then 'cancelled' else 'completed' end as status,
    'shop' as source
from range($low, $high) as numbers (i)
