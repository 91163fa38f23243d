-- A deposit that a person decided about has that person's word for it.
SELECT d.id::text, 'was decided by ' || d.reviewed_by_id || ', who never said so'
  FROM wallets_deposit d
 WHERE d.reviewed_by_id IS NOT NULL
   AND NOT EXISTS (SELECT FROM core_auditevent e
                    WHERE e.object_type = 'wallets.deposit' AND e.object_id = d.id::text
                      AND e.actor_id = d.reviewed_by_id)
