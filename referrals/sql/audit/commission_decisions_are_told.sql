-- A commission that a person approved or reversed has that person's word for it.
SELECT c.id::text, 'was ' || decided.action || ' by ' || decided.actor || ', who never said so'
  FROM referrals_commission c
 CROSS JOIN LATERAL (VALUES ('approved', c.approved_by), ('reversed', c.reversed_by)) AS decided (action, actor)
 WHERE decided.actor IS NOT NULL
   AND NOT EXISTS (SELECT FROM core_auditevent e
                    WHERE e.object_type = 'referrals.commission' AND e.object_id = c.id::text
                      AND e.action = 'referrals.commission.' || decided.action AND e.actor_id = decided.actor)
