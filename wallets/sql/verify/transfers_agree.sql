-- A transfer moved its amount out of its source and into its target, in the transaction that it names; and whatever left
-- a cash wallet as a transfer has one. (What leaves a margin wallet is released by trading, which keeps no transfer.)
SELECT 'transfer ' || d.id,
       CASE WHEN w.owner_id IS DISTINCT FROM d.owner_id THEN 'not of its source''s owner'
            WHEN t.id IS NULL THEN 'not posted'
            WHEN t.type <> 'TRANSFER' OR t.owner_id <> d.owner_id THEN 'posted by ' || t.id || ', which is not its own'
            ELSE d.amount || ' ' || d.currency || ', posted ' || -coalesce(m.source, 0) || ' out and '
                 || coalesce(m.target, 0) || ' in'
       END
  FROM wallets_transfer d
  LEFT JOIN wallets_wallet w ON w.id = d.source_id
  LEFT JOIN wallets_ledgertransaction t ON t.id = d.transaction_id
  LEFT JOIN LATERAL (SELECT sum(e.amount) FILTER (WHERE e.wallet_id = d.source_id) AS source,
                            sum(e.amount) FILTER (WHERE e.wallet_id = d.target_id) AS target,
                            bool_and(e.currency = d.currency) AS one_currency
                       FROM wallets_entry e
                      WHERE e.transaction_id = d.transaction_id) m ON true
 WHERE w.owner_id IS DISTINCT FROM d.owner_id OR t.id IS NULL OR t.type <> 'TRANSFER' OR t.owner_id <> d.owner_id
    OR coalesce(m.source, 0) <> -d.amount OR coalesce(m.target, 0) <> d.amount OR m.one_currency IS NOT TRUE
UNION ALL
SELECT DISTINCT 'transaction ' || t.id, 'posted as a transfer, but there is no transfer'
  FROM wallets_ledgertransaction t
  JOIN wallets_entry e ON e.transaction_id = t.id AND e.amount < 0
  JOIN wallets_wallet w ON w.id = e.wallet_id AND w.kind = 'CASH'
 WHERE t.type = 'TRANSFER' AND NOT EXISTS (SELECT FROM wallets_transfer d WHERE d.transaction_id = t.id)
