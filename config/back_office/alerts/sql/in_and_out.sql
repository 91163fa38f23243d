-- Withdrawals that take back most of what came in within so many days, with hardly anything traded in between.
-- `earliest` is below the id of whatever happened within the window of any of them.
SELECT w.owner_id, w.id, w.amount, w.currency, w.created_at, paid_in.transactions, paid_in.amounts,
       paid_in.moments, paid_in.total, paid_out.total, traded.lots
  FROM wallets_withdrawal w
  JOIN wallets_wallet source ON source.id = w.wallet_id AND source.environment = 'LIVE'
 CROSS JOIN LATERAL (
       SELECT array_agg(d.transaction_id ORDER BY d.completed_at, d.id) AS transactions,
              array_agg(d.amount ORDER BY d.completed_at, d.id) AS amounts,
              array_agg(d.completed_at ORDER BY d.completed_at, d.id) AS moments,
              sum(d.amount) AS total, min(d.completed_at) AS since
         FROM wallets_deposit d
         JOIN wallets_wallet target ON target.id = d.wallet_id AND target.environment = 'LIVE'
        WHERE d.owner_id = w.owner_id AND d.currency = w.currency AND d.transaction_id IS NOT NULL
          AND d.completed_at > w.created_at - make_interval(days => %(days)s)
          AND d.completed_at <= w.created_at) paid_in
 CROSS JOIN LATERAL (
       SELECT sum(o.amount) AS total
         FROM wallets_withdrawal o
        WHERE o.owner_id = w.owner_id AND o.currency = w.currency
          AND o.created_at BETWEEN paid_in.since AND w.created_at
          AND (o.id = w.id OR o.status NOT IN ('REJECTED', 'CANCELLED', 'FAILED'))) paid_out
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(d.volume), 0) AS lots
         FROM trading_deal d
         JOIN accounts_tradingaccount a ON a.id = d.account_id AND a.environment = 'LIVE'
        WHERE d.owner_id = w.owner_id AND d.id >= %(earliest)s
          AND d.executed_at BETWEEN paid_in.since AND w.created_at) traded
 WHERE w.id = ANY (%(ids)s)
   AND paid_in.total IS NOT NULL
   AND paid_out.total >= (%(amounts)s::jsonb ->> w.currency)::numeric
   AND paid_out.total * 100 >= paid_in.total * %(percent)s
   AND traded.lots < %(lots)s
 ORDER BY w.id
