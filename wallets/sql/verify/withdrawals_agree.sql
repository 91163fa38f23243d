-- A withdrawal that is completed was posted, with its amount out of its wallet; and whatever was posted as a withdrawal
-- has one.
SELECT 'withdrawal ' || d.id,
       CASE WHEN w.owner_id IS DISTINCT FROM d.owner_id THEN 'not of its wallet''s owner'
            WHEN d.status <> 'COMPLETED' THEN d.status || ', yet posted by ' || d.transaction_id
            WHEN t.id IS NULL THEN 'COMPLETED, but not posted'
            WHEN t.type <> 'WITHDRAWAL' OR t.owner_id <> d.owner_id THEN 'posted by ' || t.id || ', which is not its own'
            ELSE d.amount || ' ' || d.currency || ', posted ' || -coalesce(m.amount, 0) || ' ' || w.currency
       END
  FROM wallets_withdrawal d
  LEFT JOIN wallets_wallet w ON w.id = d.wallet_id
  LEFT JOIN wallets_ledgertransaction t ON t.id = d.transaction_id
  LEFT JOIN LATERAL (SELECT sum(e.amount) AS amount FROM wallets_entry e
                      WHERE e.transaction_id = d.transaction_id AND e.wallet_id = d.wallet_id) m ON true
 WHERE w.owner_id IS DISTINCT FROM d.owner_id
    OR (d.status <> 'COMPLETED' AND d.transaction_id IS NOT NULL)
    OR (d.status = 'COMPLETED'
        AND (t.id IS NULL OR t.type <> 'WITHDRAWAL' OR t.owner_id <> d.owner_id
             OR coalesce(m.amount, 0) <> -d.amount OR w.currency <> d.currency))
UNION ALL
SELECT 'transaction ' || t.id, 'posted as a withdrawal, but there is no withdrawal'
  FROM wallets_ledgertransaction t
 WHERE t.type = 'WITHDRAWAL' AND NOT EXISTS (SELECT FROM wallets_withdrawal d WHERE d.transaction_id = t.id)
