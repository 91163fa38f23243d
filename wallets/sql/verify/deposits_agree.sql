-- A deposit that is completed was posted, with its amount into its wallet; a reversed one was posted back; and whatever
-- was posted as a deposit has one.
SELECT 'deposit ' || d.id,
       CASE WHEN w.owner_id IS DISTINCT FROM d.owner_id THEN 'not of its wallet''s owner'
            WHEN d.status NOT IN ('COMPLETED', 'REVERSED') THEN d.status || ', yet posted by ' || d.transaction_id
            WHEN t.id IS NULL THEN d.status || ', but not posted'
            WHEN t.type <> 'DEPOSIT' OR t.owner_id <> d.owner_id THEN 'posted by ' || t.id || ', which is not its own'
            WHEN d.status = 'REVERSED' AND r.id IS NULL THEN 'REVERSED, but its posting was not'
            WHEN d.status = 'COMPLETED' AND r.id IS NOT NULL THEN 'COMPLETED, but reversed by ' || r.id
            ELSE d.amount || ' ' || d.currency || ', posted ' || coalesce(m.amount, 0) || ' ' || w.currency
       END
  FROM wallets_deposit d
  LEFT JOIN wallets_wallet w ON w.id = d.wallet_id
  LEFT JOIN wallets_ledgertransaction t ON t.id = d.transaction_id
  LEFT JOIN wallets_ledgertransaction r ON r.reverses_id = t.id
  LEFT JOIN LATERAL (SELECT sum(e.amount) AS amount FROM wallets_entry e
                      WHERE e.transaction_id = d.transaction_id AND e.wallet_id = d.wallet_id) m ON true
 WHERE w.owner_id IS DISTINCT FROM d.owner_id
    OR (d.status NOT IN ('COMPLETED', 'REVERSED') AND d.transaction_id IS NOT NULL)
    OR (d.status IN ('COMPLETED', 'REVERSED')
        AND (t.id IS NULL OR t.type <> 'DEPOSIT' OR t.owner_id <> d.owner_id
             OR (d.status = 'REVERSED') <> (r.id IS NOT NULL)
             OR coalesce(m.amount, 0) <> d.amount OR w.currency <> d.currency))
UNION ALL
SELECT 'transaction ' || t.id, 'posted as a deposit, but there is no deposit'
  FROM wallets_ledgertransaction t
 WHERE t.type = 'DEPOSIT' AND NOT EXISTS (SELECT FROM wallets_deposit d WHERE d.transaction_id = t.id)
