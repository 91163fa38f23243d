-- An alert stands where its last event left it.
SELECT a.id::text, 'is ' || a.status || ', was last told to be ' || coalesce(told.status, 'nothing')
  FROM alerts_alert a
  LEFT JOIN LATERAL (
       SELECT e.after ->> 'status' AS status FROM core_auditevent e
        WHERE e.object_type = 'alerts.alert' AND e.object_id = a.id::text
        ORDER BY e.id DESC LIMIT 1) told ON true
 WHERE told.status IS DISTINCT FROM a.status
