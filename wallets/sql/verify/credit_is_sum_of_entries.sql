-- A client's credit is the sum of what was given and taken back.
SELECT 'wallet ' || w.number, 'credit ' || w.credit || ', entries sum to ' || coalesce(e.total, 0)
  FROM wallets_wallet w
  LEFT JOIN (SELECT wallet_id, sum(amount) AS total
               FROM wallets_entry
              WHERE reason IN ('CREDIT_IN', 'CREDIT_OUT') AND wallet_version IS NOT NULL
              GROUP BY wallet_id) e ON e.wallet_id = w.id
 WHERE w.credit <> coalesce(e.total, 0)
