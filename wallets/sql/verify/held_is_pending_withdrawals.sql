-- What a cash wallet holds is what its open withdrawals promise.
SELECT 'wallet ' || w.number, 'held ' || w.held || ', open withdrawals sum to ' || coalesce(p.total, 0)
  FROM wallets_wallet w
  LEFT JOIN (SELECT wallet_id, sum(amount) AS total
               FROM wallets_withdrawal
              WHERE status IN ('REQUESTED', 'IN_REVIEW', 'APPROVED', 'SENT')
              GROUP BY wallet_id) p ON p.wallet_id = w.id
 WHERE w.kind = 'CASH' AND w.held <> coalesce(p.total, 0)
