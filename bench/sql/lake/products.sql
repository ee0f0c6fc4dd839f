-- Rows: one per product.
with categories as (
    select [
        'shoes', 'shirts', 'jackets', 'trousers', 'dresses', 'bags', 'hats', 'belts', 'socks', 'scarves',
        'jewellery', 'home'
    ] as names
)

select
    'shop:P' || i as product_id,
    upper(names[1 + i % 12][1]) || names[1 + i % 12][2:] || ' no. ' || (i // 12 + 1) as name,
    names[1 + i % 12] as category,
    price_of(i) as price_minor,
    'EUR' as currency,
    'shop' as source
from range($low, $high) as numbers (i), categories
