-- Rows: one per contact.
with people as (
    select
        1 + i as contact_id,
        -- Twelve countries; the first has three contacts in ten, the last one in twenty-five.
        1 + floor(12 * pow(draw(i, 50), 2))::bigint as place,
        pick([
            'Ada', 'Bert', 'Cléo', 'Dora', 'Emil', 'Fanny', 'Gül', 'Hugo', 'Inès', 'Jan', 'Karin', 'Léa',
            'Marta', 'Noor', 'Olaf', 'Paula', 'Quentin', 'Rosa', 'Sören', 'Tove', 'Ugo', 'Vera', 'Wim', 'Zoë'
        ], i, 51) as first_name,
        pick([
            'Andersson', 'Bauer', 'Conti', 'Dubois', 'Evans', 'Fernández', 'García', 'Hansen', 'Ivanova',
            'Janssen', 'Kowalski', 'Lefèvre', 'Müller', 'Novák', 'Olsen', 'Petit', 'Quinn', 'Rossi',
            'Schmidt', 'Taylor', 'Urban', 'Visser', 'Weber', 'Yilmaz', 'Zimmermann'
        ], i, 52) as last_name,
        i
    from range($low, $high) as numbers (i)
),

addressed as (
    select
        *,
        strip_accents(first_name) || '.' || strip_accents(last_name) || contact_id || '@' || pick(
            ['mail', 'post', 'inbox', 'work', 'home'], i, 53
        ) || '.example' as address
    from people
)

select
    contact_id,
    case when draw(i, 54) < 0.9 then lower(address) else address end as address,
    lower(address) as address_normalised,
    first_name,
    last_name,
    [
        'de-DE', 'fr-FR', 'en-GB', 'es-ES', 'it-IT', 'nl-NL', 'pl-PL', 'sv-SE', 'de-AT', 'fr-BE', 'da-DK',
        'pt-PT'
    ][place] as locale,
    [
        'Europe/Berlin', 'Europe/Paris', 'Europe/London', 'Europe/Madrid', 'Europe/Rome', 'Europe/Amsterdam',
        'Europe/Warsaw', 'Europe/Stockholm', 'Europe/Vienna', 'Europe/Brussels', 'Europe/Copenhagen',
        'Europe/Lisbon'
    ][place] as time_zone,
    ['DE', 'FR', 'GB', 'ES', 'IT', 'NL', 'PL', 'SE', 'AT', 'BE', 'DK', 'PT'][place] as country,
    pick([
        ['Berlin', 'Hamburg', 'München', 'Köln'], ['Paris', 'Lyon', 'Marseille', 'Lille'],
        ['London', 'Leeds', 'Bristol', 'Glasgow'], ['Madrid', 'Sevilla', 'Valencia', 'Bilbao'],
        ['Roma', 'Milano', 'Torino', 'Napoli'], ['Amsterdam', 'Utrecht', 'Rotterdam', 'Breda'],
        ['Warszawa', 'Kraków', 'Gdańsk', 'Łódź'], ['Stockholm', 'Malmö', 'Uppsala', 'Lund'],
        ['Wien', 'Graz', 'Linz', 'Salzburg'], ['Bruxelles', 'Gent', 'Liège', 'Namur'],
        ['København', 'Aarhus', 'Odense', 'Aalborg'], ['Lisboa', 'Porto', 'Braga', 'Faro']
    ][place], i, 55) as city,
    case when draw(i, 56) < 0.6 then date '1938-01-01' + (draw(i, 57) * 25500)::integer end as birth_on,
    make_timestamptz(
        getvariable('as_of_us') - (86400e6 * (1095 + 2000 * draw(i, 58)))::bigint // 1000000 * 1000000
    ) as created_at,
    'shop' as source,
    '{"loyalty": "' || pick(['none', 'none', 'none', 'bronze', 'silver', 'gold'], i, 59)
    || '", "signed_up": "' || pick(['checkout', 'footer', 'store', 'friend'], i, 60)
    || '", "shoe_size": ' || (35 + hash(i * 64 + 61) % 12) || '}' as attributes
from addressed
