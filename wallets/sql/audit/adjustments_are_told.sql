-- An adjustment stands where its last event left it, and both who proposed it and who decided about it said so themselves.
SELECT a.id::text, 'is ' || a.status || ', was last told to be ' || coalesce(told.status, 'nothing')
  FROM wallets_adjustment a
  LEFT JOIN LATERAL (
       SELECT e.after ->> 'status' AS status FROM core_auditevent e
        WHERE e.object_type = 'wallets.adjustment' AND e.object_id = a.id::text
        ORDER BY e.id DESC LIMIT 1) told ON true
 WHERE told.status IS DISTINCT FROM a.status
UNION ALL
SELECT a.id::text, 'has the name of ' || person.id || ' on it, who never said so'
  FROM wallets_adjustment a
 CROSS JOIN LATERAL (VALUES (a.proposed_by_id, 'PROPOSED'), (a.decided_by_id, a.status)) AS person (id, status)
 WHERE person.id IS NOT NULL
   AND NOT EXISTS (SELECT FROM core_auditevent e
                    WHERE e.object_type = 'wallets.adjustment' AND e.object_id = a.id::text
                      AND e.actor_id = person.id AND e.after ->> 'status' = person.status)
