-- A proposal about who referred a client stands where its last event left it, and the client's row where the last one
-- that was approved put it. (Who had none has the referrer of their sign-up, which the audit event of their account tells.)
SELECT c.id::text, 'is ' || c.status || ', was last told to be ' || coalesce(told.status, 'nothing')
  FROM accounts_referrerchange c
  LEFT JOIN LATERAL (
       SELECT e.after ->> 'status' AS status FROM core_auditevent e
        WHERE e.object_type = 'accounts.referrerchange' AND e.object_id = c.id::text
        ORDER BY e.id DESC LIMIT 1) told ON true
 WHERE told.status IS DISTINCT FROM c.status
UNION ALL
SELECT u.id::text, 'was referred by ' || coalesce(u.referred_by_id::text, 'nobody') || ', and nobody said so'
  FROM accounts_user u
  JOIN LATERAL (SELECT c.referrer_id FROM accounts_referrerchange c
                 WHERE c.owner_id = u.id AND c.status = 'APPROVED' ORDER BY c.effective_from DESC LIMIT 1) last ON true
 WHERE u.referred_by_id IS DISTINCT FROM last.referrer_id
