-- A balance is the sum of the wallet's entries; the house's is that less the legs not yet folded.
SELECT 'wallet ' || w.number,
       'balance ' || w.balance || ' and unfolded ' || coalesce(u.total, 0) || ', entries sum to ' || coalesce(e.total, 0)
  FROM wallets_wallet w
  LEFT JOIN (SELECT wallet_id, sum(amount) AS total FROM wallets_entry GROUP BY wallet_id) e ON e.wallet_id = w.id
  LEFT JOIN (SELECT wallet_id, sum(amount) AS total FROM wallets_unfoldedleg GROUP BY wallet_id) u ON u.wallet_id = w.id
 WHERE w.balance + coalesce(u.total, 0) <> coalesce(e.total, 0)
