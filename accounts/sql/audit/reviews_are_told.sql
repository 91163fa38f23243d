-- A verification stands where its last event left it.
SELECT v.id::text, 'is ' || v.status || ', was last told to be ' || coalesce(told.status, 'nothing')
  FROM accounts_verification v
  LEFT JOIN LATERAL (
       SELECT e.after ->> 'status' AS status FROM core_auditevent e
        WHERE e.object_type = 'accounts.verification' AND e.object_id = v.id::text
        ORDER BY e.id DESC LIMIT 1) told ON true
 WHERE v.status <> 'PENDING' AND told.status IS DISTINCT FROM v.status
