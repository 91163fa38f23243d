-- No wallet is where its constraints would not let it go, had somebody taken them away.
SELECT 'wallet ' || w.number,
       'balance ' || w.balance || ', held ' || w.held || ', credit ' || w.credit || ', version ' || w.version
  FROM wallets_wallet w
 WHERE NOT (w.balance BETWEEN -999999999999.99999999 AND 999999999999.99999999)
    OR NOT (w.held BETWEEN 0 AND 999999999999.99999999)
    OR NOT (w.credit BETWEEN 0 AND 999999999999.99999999)
    OR NOT (w.realized_profit BETWEEN -999999999999.99999999 AND 999999999999.99999999)
    OR w.version < 0
    OR (w.kind = 'CASH' AND (w.balance < 0 OR w.balance < w.held OR w.credit <> 0))
    OR (w.kind = 'MARGIN' AND w.balance < 0 AND w.held = 0)
    OR (w.kind NOT IN ('CASH', 'MARGIN') AND (w.held <> 0 OR w.credit <> 0 OR w.version <> 0))
