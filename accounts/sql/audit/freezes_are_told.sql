-- Whoever stops a client, or lets them go on, leaves word.
SELECT f.id::text, told.action || ' was never told'
  FROM accounts_freeze f
 CROSS JOIN LATERAL (
       VALUES ('accounts.freeze.placed', true), ('accounts.freeze.lifted', f.lifted_at IS NOT NULL)) AS told (action, due)
 WHERE told.due
   AND NOT EXISTS (SELECT FROM core_auditevent e
                    WHERE e.object_type = 'accounts.freeze' AND e.object_id = f.id::text AND e.action = told.action)
