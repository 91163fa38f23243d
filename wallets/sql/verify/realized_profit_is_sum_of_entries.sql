-- What a client earned or lost is the sum of the legs that say so.
SELECT 'wallet ' || w.number, 'realized profit ' || w.realized_profit || ', entries sum to ' || coalesce(e.total, 0)
  FROM wallets_wallet w
  LEFT JOIN (SELECT wallet_id, sum(amount) AS total
               FROM wallets_entry
              WHERE reason IN ('TRADE_PNL', 'COMMISSION', 'SWAP') AND wallet_version IS NOT NULL
              GROUP BY wallet_id) e ON e.wallet_id = w.id
 WHERE w.realized_profit <> coalesce(e.total, 0)
