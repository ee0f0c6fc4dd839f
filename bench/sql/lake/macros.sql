-- What the tables' files share: draws, time, who and what, all made from a row's number alone, so any
-- chunk of a table can be made by itself and a cart knows the order that came of it.
-- Variables: contacts, orders, events, activities (rows), as_of_us (microseconds).

-- A number in [0, 1). Salts are below 64; a salt of its own for every draw of a row.
create macro draw(i, salt) as hash(i * 64 + salt) / 18446744073709551616.0;

create macro pick(list, i, salt) as list[1 + (hash(i * 64 + salt) % len(list))::bigint];

-- Three years up to as_of. Rows are made in order of time, and the younger half of them is of the last year.
create macro us_at(i, rows) as
    getvariable('as_of_us') - (94608000e6 * pow(1 - (i + 0.5) / rows, 1.6))::bigint;

-- A tenth of the contacts do half of everything, a fifth nothing; both are scattered over the ids.
create macro contact_at(place) as 1 + (place * 7368787 + 13) % getvariable('contacts');
create macro contact_of(i, salt) as contact_at((
    getvariable('contacts') * case
        when draw(i, salt) < 0.5 then 0.1 * pow(draw(i, salt + 1), 1.3)
        else 0.1 + 0.7 * pow(draw(i, salt + 1), 1.3)
    end
)::bigint);

-- 504 products in 12 categories; some sell much more than others, people have a category they like.
create macro price_of(product) as 395 + 100 * (hash(product * 64) % 180)::bigint;
create macro order_contact(i) as contact_of(i, 10);
create macro order_us(i) as us_at(i, getvariable('orders')) // 1000000 * 1000000;
create macro order_lines_of(i) as
    case when draw(i, 12) < 0.7 then 1 when draw(i, 12) < 0.9 then 2 else 3 end;
create macro liked(contact_id, popularity) as
    (hash(contact_id * 64 + 1) % 12)::bigint + 12 * floor(42 * popularity * popularity)::bigint;
create macro order_product(i, line) as case
    when draw(i, 13 + line) < 0.45 then liked(order_contact(i), draw(i, 17 + line))
    else floor(504 * pow(draw(i, 17 + line), 2))::bigint
end;
create macro order_quantity(i, line) as
    case when draw(i, 21 + line) < 0.8 then 1 when draw(i, 21 + line) < 0.95 then 2 else 3 end;
-- One order in fifty takes things back: quantities and amounts are below nothing.
create macro order_sign(i) as case when draw(i, 25) < 0.02 then -1 else 1 end;
create macro order_line_minor(i, line) as
    order_sign(i) * order_quantity(i, line) * price_of(order_product(i, line));
