-- The network addresses that people with live money acted from since a moment, where more than one did, in the order in
-- which they first appeared there. An address that more than `people_max` clients ever used is a network and no device,
-- and is passed over; each address is walked from person to person, so one who acted a million times costs one step.
-- OFFSET 0 asks for a live wallet person by person: as a join it would read everybody's.
WITH RECURSIVE walked AS (
     SELECT a.address, one.owner, 1 AS nth
       FROM unnest(%(addresses)s::inet[]) AS a (address)
      CROSS JOIN LATERAL (
            SELECT e.owner FROM core_auditevent e
             WHERE e.address = a.address AND e.actor_kind = 'CLIENT' ORDER BY e.owner LIMIT 1) one
      WHERE NOT a.address <<= ANY (%(networks)s::inet[])
      UNION ALL
     SELECT w.address, one.owner, w.nth + 1
       FROM walked w
      CROSS JOIN LATERAL (
            SELECT e.owner FROM core_auditevent e
             WHERE e.address = w.address AND e.actor_kind = 'CLIENT' AND e.owner > w.owner ORDER BY e.owner LIMIT 1) one
      WHERE w.nth <= %(people_max)s
)
SELECT host(w.address), array_agg(w.owner ORDER BY here.since, w.owner),
       array_agg(here.since ORDER BY here.since, w.owner), array_agg(here.last ORDER BY here.since, w.owner)
  FROM walked w
 CROSS JOIN LATERAL (
       SELECT min(e.created_at) AS since, max(e.created_at) AS last FROM core_auditevent e
        WHERE e.address = w.address AND e.actor_kind = 'CLIENT' AND e.owner = w.owner) here
 WHERE here.last > %(since)s
   AND w.address NOT IN (SELECT crowded.address FROM walked crowded WHERE crowded.nth > %(people_max)s)
   AND EXISTS (SELECT FROM wallets_wallet l
                WHERE l.owner_id = w.owner AND l.environment = 'LIVE' AND l.kind IN ('CASH', 'MARGIN') OFFSET 0)
 GROUP BY w.address
HAVING count(*) > 1
 ORDER BY w.address
