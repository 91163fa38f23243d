-- A leg that waits to be folded is one of the house's entries, with its wallet and amount.
SELECT 'unfolded leg ' || u.entry_id,
       CASE WHEN e.id IS NULL THEN 'there is no such entry'
            WHEN w.id IS NULL OR w.kind IN ('CASH', 'MARGIN') THEN 'its wallet is not the house''s'
            ELSE u.amount || ' into wallet ' || u.wallet_id || ', its entry says ' || e.amount || ' into ' || e.wallet_id
       END
  FROM wallets_unfoldedleg u
  LEFT JOIN wallets_entry e ON e.id = u.entry_id
  LEFT JOIN wallets_wallet w ON w.id = u.wallet_id
 WHERE e.id IS NULL OR w.id IS NULL OR w.kind IN ('CASH', 'MARGIN') OR u.wallet_id <> e.wallet_id OR u.amount <> e.amount
