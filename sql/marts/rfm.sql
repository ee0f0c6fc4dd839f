/*
description: Each buyer's recency, frequency and money, scored in fifths, and a word for the three
owner: team:analytics
grain: one row per contact with at least one purchase
status: live
refresh: daily
*/
-- Scores run from 1 (lowest fifth of all buyers) to 5. Ties are broken by contact_id, so that fifths
-- are of one size and the same data gives the same scores; two equal buyers may get different ones.
-- Where most bought once, some of these get a 3 by their id alone: nobody who bought once is called
-- a champion, loyal or at risk.
-- The word, first match from above; often means a frequency score of 3 or more and two purchases:
--   champion   often, recency 4 or 5, frequency 4 or 5, money 4 or 5
--   loyal      often, recency 3 or more
--   promising  recency 4 or 5: lately, and not often yet
--   fading     recency 3: neither lately nor often
--   at_risk    often, and not for long
--   lost       the rest: neither often nor lately
with buyers as (
    select
        contact_id,
        last_ordered_at,
        date_diff('day', cast(last_ordered_at as date), cast($as_of as date)) as recency_days,
        orders as frequency,
        revenue_minor as monetary_minor,
        currency
    from marts.customer_value
),

scored as (
    select
        contact_id,
        last_ordered_at,
        recency_days,
        frequency,
        monetary_minor,
        currency,
        ntile(5) over (order by last_ordered_at, contact_id) as recency_score,
        ntile(5) over (order by frequency, contact_id) as frequency_score,
        -- Money of two currencies is not compared.
        ntile(5) over (partition by currency order by monetary_minor, contact_id) as monetary_score
    from buyers
),

judged as (
    select
        contact_id,
        last_ordered_at,
        recency_days,
        frequency,
        monetary_minor,
        currency,
        recency_score,
        frequency_score,
        monetary_score,
        frequency_score >= 3 and frequency >= 2 as is_often
    from scored
)

select
    contact_id,  -- the buyer
    last_ordered_at,
    recency_days,  -- days from the last purchase to as_of, by the calendar
    frequency,  -- purchases ever
    monetary_minor,  -- revenue ever, returns taken off; minor units
    currency,  -- of monetary_minor
    recency_score,  -- 5: the fifth who bought last
    frequency_score,  -- 5: the fifth who bought most often
    monetary_score,  -- 5: the fifth who spent most, among those of the same currency
    case
        when is_often and recency_score >= 4 and frequency_score >= 4 and monetary_score >= 4
            then 'champion'
        when is_often and recency_score >= 3 then 'loyal'
        when recency_score >= 4 then 'promising'
        when recency_score = 3 then 'fading'
        when is_often then 'at_risk'
        else 'lost'
    end as standing  -- the word for the three scores
from judged
