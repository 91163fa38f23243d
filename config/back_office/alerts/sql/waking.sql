-- Large movements of clients who had not stirred for so many days when they woke up, at most `days_awake` before.
-- Stirring is what a client does themselves: pay in or out, transfer, order, have a position closed. `earliest` is below
-- the id of whatever happened within the window of any of them.
--
-- OFFSET 0 keeps each question one look-up per movement: as a join it would be answered for everybody at once.
WITH moved AS MATERIALIZED (
     SELECT t.owner_id, t.id, 'DEPOSIT' AS what, d.amount, d.currency, t.posted_at AS at
       FROM wallets_ledgertransaction t
       JOIN wallets_deposit d ON d.transaction_id = t.id
      WHERE t.id = ANY (%(deposits)s) AND d.amount >= (%(amounts)s::jsonb ->> d.currency)::numeric
      UNION ALL
     SELECT w.owner_id, w.id, 'WITHDRAWAL', w.amount, w.currency, w.created_at
       FROM wallets_withdrawal w
       JOIN wallets_wallet source ON source.id = w.wallet_id AND source.environment = 'LIVE'
      WHERE w.id = ANY (%(withdrawals)s) AND w.amount >= (%(amounts)s::jsonb ->> w.currency)::numeric
), woken AS MATERIALIZED (
     SELECT m.*,
            least(
            m.at,
            (SELECT min(e.posted_at) FROM wallets_entry e JOIN wallets_wallet w ON w.id = e.wallet_id
              WHERE e.owner_id = m.owner_id AND e.id >= %(earliest)s AND w.environment = 'LIVE'
                AND e.reason IN ('DEPOSIT', 'WITHDRAWAL', 'TRANSFER', 'TRADE_PNL', 'COMMISSION')
                AND e.posted_at > m.at - make_interval(days => %(days_awake)s)),
            (SELECT min(o.created_at) FROM trading_order o JOIN accounts_tradingaccount a ON a.id = o.account_id
              WHERE o.owner_id = m.owner_id AND o.id >= %(earliest)s AND a.environment = 'LIVE'
                AND o.created_at > m.at - make_interval(days => %(days_awake)s)),
            (SELECT min(o.created_at) FROM wallets_withdrawal o
              WHERE o.owner_id = m.owner_id AND o.id >= %(earliest)s
                AND o.created_at > m.at - make_interval(days => %(days_awake)s))) AS woke_at
       FROM moved m
      -- Whoever is too new or has stirred in between is out at once, without looking for the moment they woke up.
      WHERE EXISTS (SELECT FROM wallets_wallet w
                     WHERE w.owner_id = m.owner_id AND w.environment = 'LIVE'
                       AND w.created_at <= m.at - make_interval(days => %(days)s) OFFSET 0)
        AND NOT EXISTS (SELECT FROM wallets_entry e JOIN wallets_wallet w ON w.id = e.wallet_id
                         WHERE e.owner_id = m.owner_id AND e.id >= %(earliest)s AND w.environment = 'LIVE'
                           AND e.reason IN ('DEPOSIT', 'WITHDRAWAL', 'TRANSFER', 'TRADE_PNL', 'COMMISSION')
                           AND e.posted_at > m.at - make_interval(days => %(days)s)
                           AND e.posted_at <= m.at - make_interval(days => %(days_awake)s) OFFSET 0)
)
SELECT m.owner_id, m.id, m.what, m.amount, m.currency, m.at, m.woke_at
  FROM woken m
 WHERE EXISTS (SELECT FROM wallets_wallet w
                WHERE w.owner_id = m.owner_id AND w.environment = 'LIVE'
                  AND w.created_at <= m.woke_at - make_interval(days => %(days)s) OFFSET 0)
   AND NOT EXISTS (SELECT FROM wallets_entry e JOIN wallets_wallet w ON w.id = e.wallet_id
                    WHERE e.owner_id = m.owner_id AND e.id >= %(earliest)s AND w.environment = 'LIVE'
                      AND e.reason IN ('DEPOSIT', 'WITHDRAWAL', 'TRANSFER', 'TRADE_PNL', 'COMMISSION')
                      AND e.posted_at > m.woke_at - make_interval(days => %(days)s) AND e.posted_at < m.woke_at
                   OFFSET 0)
   AND NOT EXISTS (SELECT FROM trading_order o JOIN accounts_tradingaccount a ON a.id = o.account_id
                    WHERE o.owner_id = m.owner_id AND o.id >= %(earliest)s AND a.environment = 'LIVE'
                      AND o.created_at > m.woke_at - make_interval(days => %(days)s) AND o.created_at < m.woke_at
                   OFFSET 0)
   AND NOT EXISTS (SELECT FROM wallets_withdrawal o
                    WHERE o.owner_id = m.owner_id AND o.id >= %(earliest)s
                      AND o.created_at > m.woke_at - make_interval(days => %(days)s) AND o.created_at < m.woke_at
                   OFFSET 0)
 ORDER BY m.id
