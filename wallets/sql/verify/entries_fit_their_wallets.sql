-- Every entry belongs to a wallet and a transaction that exist, in the wallet's currency, to the right owner, at the
-- transaction's time; a client's wallet chains its entries, the house's does not.
SELECT 'entry ' || e.id,
       CASE WHEN t.id IS NULL THEN 'there is no transaction ' || e.transaction_id
            WHEN w.id IS NULL THEN 'there is no wallet ' || e.wallet_id
            WHEN w.currency <> e.currency THEN e.currency || ' in wallet ' || w.number || ', which holds ' || w.currency
            WHEN e.posted_at <> t.posted_at THEN 'posted at ' || e.posted_at || ', its transaction at ' || t.posted_at
            WHEN w.kind IN ('CASH', 'MARGIN') AND e.owner_id <> w.owner_id THEN 'not of its wallet''s owner'
            WHEN w.kind IN ('CASH', 'MARGIN') THEN 'not chained'
            WHEN e.owner_id <> t.owner_id THEN 'not of its transaction''s owner'
            ELSE 'chained, in a wallet of the house'
       END
  FROM wallets_entry e
  LEFT JOIN wallets_ledgertransaction t ON t.id = e.transaction_id
  LEFT JOIN wallets_wallet w ON w.id = e.wallet_id
 WHERE t.id IS NULL OR w.id IS NULL OR w.currency <> e.currency OR e.posted_at <> t.posted_at
    OR (w.kind IN ('CASH', 'MARGIN')
        AND (e.owner_id <> w.owner_id OR e.wallet_version IS NULL OR e.balance_after IS NULL OR e.digest IS NULL))
    OR (w.kind NOT IN ('CASH', 'MARGIN')
        AND (e.owner_id <> t.owner_id
             OR e.wallet_version IS NOT NULL OR e.balance_after IS NOT NULL OR e.digest IS NOT NULL))
