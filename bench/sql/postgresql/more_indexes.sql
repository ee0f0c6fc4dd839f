create index on core.orders (ordered_at);
create index on core.order_lines (order_id);
create index on core.engagement_events (kind, occurred_at);
create index on core.activities (kind, occurred_at);
analyze core.orders, core.order_lines, core.engagement_events, core.activities;
