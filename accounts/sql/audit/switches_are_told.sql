-- A kill switch stands where its last event left it.
SELECT k.scope, CASE WHEN k.engaged THEN 'is engaged' ELSE 'is clear' END || ', and nobody said so'
  FROM core_killswitch k
  LEFT JOIN LATERAL (
       SELECT (e.after ->> 'engaged')::boolean AS engaged FROM core_auditevent e
        WHERE e.object_type = 'core.killswitch' AND e.object_id = k.scope
        ORDER BY e.id DESC LIMIT 1) told ON true
 WHERE told.engaged IS DISTINCT FROM k.engaged AND (k.engaged OR told.engaged IS NOT NULL)
