-- An adjustment that is approved was posted, with its amount into its wallet or out of it; and whatever a member of staff
-- posted as an adjustment has one.
SELECT 'adjustment ' || a.id,
       CASE WHEN w.owner_id IS DISTINCT FROM a.owner_id THEN 'not of its wallet''s owner'
            WHEN a.status <> 'APPROVED' THEN a.status || ', yet posted by ' || a.transaction_id
            WHEN t.id IS NULL THEN 'APPROVED, but not posted'
            WHEN t.type <> 'ADJUSTMENT' OR t.owner_id <> a.owner_id THEN 'posted by ' || t.id || ', which is not its own'
            WHEN t.actor_id <> a.decided_by_id THEN 'approved by ' || a.decided_by_id || ', posted by ' || t.actor_id
            ELSE a.direction || ' ' || a.amount || ' ' || a.currency || ', posted ' || coalesce(m.amount, 0) || ' ' || w.currency
       END
  FROM wallets_adjustment a
  LEFT JOIN wallets_wallet w ON w.id = a.wallet_id
  LEFT JOIN wallets_ledgertransaction t ON t.id = a.transaction_id
  LEFT JOIN LATERAL (SELECT sum(e.amount) AS amount FROM wallets_entry e
                      WHERE e.transaction_id = a.transaction_id AND e.wallet_id = a.wallet_id) m ON true
 WHERE w.owner_id IS DISTINCT FROM a.owner_id
    OR (a.status <> 'APPROVED' AND a.transaction_id IS NOT NULL)
    OR (a.status = 'APPROVED'
        AND (t.id IS NULL OR t.type <> 'ADJUSTMENT' OR t.owner_id <> a.owner_id OR t.actor_id <> a.decided_by_id
             OR coalesce(m.amount, 0) <> CASE a.direction WHEN 'CREDIT' THEN a.amount ELSE -a.amount END
             OR w.currency <> a.currency))
UNION ALL
SELECT 'transaction ' || t.id, 'posted by staff as an adjustment, but there is no adjustment'
  FROM wallets_ledgertransaction t
 WHERE t.type = 'ADJUSTMENT' AND t.actor_kind = 'STAFF'
   AND NOT EXISTS (SELECT FROM wallets_adjustment a WHERE a.transaction_id = t.id)
