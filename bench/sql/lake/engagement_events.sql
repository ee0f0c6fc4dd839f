-- Rows: one per event. The agents and verdicts are those of pipelines/engagement/classify.py.
with numbered as (
    select
        i,
        contact_of(i, 40) as contact_id,
        us_at(i, getvariable('events')) // 1000 * 1000 as at_us,
        draw(i, 42) as of_kind,
        draw(i, 43) as of_agent
    from range($low, $high) as numbers (i)
),

told as (
    select
        *,
        case
            when of_kind < 0.78 then 'open'
            when of_kind < 0.96 then 'click'
            when of_kind < 0.97 then 'unsubscribe'
            when of_kind < 0.997 then 'bounce'
            else 'complaint'
        end as kind,
        case
            when of_kind >= 0.96 then 'person'
            when of_agent < 0.1 then 'apple_mail_privacy'
            when of_agent < 0.13 then 'gmail_prefetch'
            when of_agent < 0.15 then 'known_crawler'
            when of_agent < 0.4 and of_kind < 0.78 then 'gmail_proxy'
            else 'person'
        end as verdict
    from numbered
)

select
    md5('event ' || i) as event_id,
    kind,
    make_timestamptz(at_us) as occurred_at,
    -- Of the week before: three campaigns a week.
    pick(['weekly-letter', 'new-in', 'members'], i, 44)
    || '@' || make_timestamp((at_us - 86400e6::bigint) // 604800000000 * 604800000000)::date as campaign,
    contact_id,
    case when kind = 'click' then 1 + floor(14 * pow(draw(i, 45), 2))::bigint end as link,
    case
        when kind = 'unsubscribe' then pick(['topic', 'topic', 'all'], i, 46)
        when kind = 'bounce' then pick(['hard 5.1.1', 'soft 4.2.2', 'soft 4.7.1'], i, 46)
    end as detail,
    verdict not in ('person', 'gmail_proxy') as is_machine,
    verdict,
    1::bigint as rule_version,
    case
        when kind in ('bounce', 'complaint') then null
        when verdict = 'apple_mail_privacy' then 'Mozilla/5.0'
        when verdict = 'gmail_prefetch' then 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36'
        || ' (KHTML, like Gecko) Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0'
        when verdict = 'known_crawler' then 'BarracudaCentral/1.0 (link checker)'
        when verdict = 'gmail_proxy' then 'Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0'
        || ' (via ggpht.com GoogleImageProxy)'
        -- A person has one device or two.
        else 'Mozilla/5.0 ' || pick([
            '(iPhone; CPU iPhone OS 18_5 like Mac OS X)', '(iPhone; CPU iPhone OS 17_6 like Mac OS X)',
            '(Windows NT 10.0; Win64; x64)', '(Macintosh; Intel Mac OS X 10_15_7)',
            '(Linux; Android 15; Pixel 9)', '(Linux; Android 14; SM-S921B)'
        ], contact_id * 2 + i % 2, 2) || ' AppleWebKit/605.1.15 (KHTML, like Gecko) ' || pick([
            'Mobile/15E148', 'Version/18.5 Safari/605.1.15', 'Chrome/140.0.0.0 Safari/537.36',
            'Chrome/138.0.0.0 Mobile Safari/537.36', 'Version/17.6 Mobile/15E148 Safari/604.1'
        ], contact_id * 2 + i % 2, 3)
    end as user_agent,
    case when kind not in ('bounce', 'complaint') then
        (31 + (hash(contact_id * 64 + 4) % 180)::bigint) || '.' || (hash(contact_id * 64 + 5) % 256) || '.'
        || (hash(contact_id * 64 + 6) % 4 * 64) || '.0/24'
    end as network,
    'edge-' || i % 4 as log_partition,
    i // 4 * 236 as log_offset
from told
