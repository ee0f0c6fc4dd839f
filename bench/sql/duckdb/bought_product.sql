select
    orders.contact_id,
    max(orders.ordered_at) filter (where lines.quantity > 0) as last_ordered_at,
    sum(lines.quantity) as units,
    (select name from core.products where product_id = $product) as product_name
from core.orders as orders
inner join core.order_lines as lines on lines.order_id = orders.order_id
where
    lines.product_id = $product
    and (orders.status = 'completed' or orders.amount_minor < 0)
    and orders.ordered_at > $as_of - to_days($days)
    and orders.ordered_at <= $as_of
group by orders.contact_id
having sum(lines.quantity) > 0
