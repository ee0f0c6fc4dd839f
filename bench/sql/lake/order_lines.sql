-- Rows: one per line of an order; numbered like the orders.
with lines as (
    select
        i,
        unnest(range(1, 1 + order_lines_of(i))) as line
    from range($low, $high) as numbers (i)
)

select
    'shop:' || (100000000 + i) as order_id,
    line as line_number,
    'shop:P' || order_product(i, line) as product_id,
    (order_sign(i) * order_quantity(i, line))::bigint as quantity,
    price_of(order_product(i, line)) as unit_price_minor,
    order_line_minor(i, line)::bigint as amount_minor,
    'EUR' as currency
from lines
