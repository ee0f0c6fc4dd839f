alter table core.contacts add primary key (contact_id);
alter table core.products add primary key (product_id);
alter table core.engagement add primary key (contact_id);
alter table core.orders add primary key (order_id);
create index on core.orders (contact_id, ordered_at);
create index on core.order_lines (product_id);
create index on core.engagement_events (contact_id, kind, occurred_at);
create index on core.activities (contact_id, kind, occurred_at);
vacuum (analyze) core.contacts, core.products, core.engagement, core.orders, core.order_lines,
core.engagement_events, core.activities;
