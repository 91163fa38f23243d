-- A withdrawal stands where its last event left it, and both of its approvers said so themselves.
SELECT w.id::text, 'is ' || w.status || ', was last told to be ' || coalesce(told.status, 'nothing')
  FROM wallets_withdrawal w
  LEFT JOIN LATERAL (
       SELECT e.after ->> 'status' AS status FROM core_auditevent e
        WHERE e.object_type = 'wallets.withdrawal' AND e.object_id = w.id::text
        ORDER BY e.id DESC LIMIT 1) told ON true
 WHERE told.status IS DISTINCT FROM w.status
UNION ALL
SELECT w.id::text, 'was approved by ' || approver.id || ', who never said so'
  FROM wallets_withdrawal w
 CROSS JOIN LATERAL (VALUES (w.approved_by_id), (w.second_approved_by_id)) AS approver (id)
 WHERE approver.id IS NOT NULL
   AND NOT EXISTS (SELECT FROM core_auditevent e
                    WHERE e.object_type = 'wallets.withdrawal' AND e.object_id = w.id::text
                      AND e.action = 'wallets.withdrawal.approved' AND e.actor_id = approver.id)
