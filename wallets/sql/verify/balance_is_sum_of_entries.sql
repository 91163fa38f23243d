-- A balance is the sum of the wallet's entries, but for a client's credit; the house's is the sum of all its entries less
-- the legs not yet folded.
SELECT 'wallet ' || w.number,
       'balance ' || w.balance || ' and unfolded ' || coalesce(u.total, 0) || ', entries sum to ' || coalesce(e.total, 0)
  FROM wallets_wallet w
  LEFT JOIN (SELECT wallet_id, sum(amount) AS total
               FROM wallets_entry
              WHERE wallet_version IS NULL OR reason NOT IN ('CREDIT_IN', 'CREDIT_OUT')
              GROUP BY wallet_id) e ON e.wallet_id = w.id
  LEFT JOIN (SELECT wallet_id, sum(amount) AS total FROM wallets_unfoldedleg GROUP BY wallet_id) u ON u.wallet_id = w.id
 WHERE w.balance + coalesce(u.total, 0) <> coalesce(e.total, 0)
