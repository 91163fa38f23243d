-- A transaction is reversed at most once, by a later transaction of the same owner and environment.
SELECT 'transaction ' || r.reverses_id,
       CASE WHEN count(*) > 1 THEN 'reversed ' || count(*) || ' times'
            WHEN bool_or(o.id IS NULL) THEN 'reversed, but there is no such transaction'
            ELSE 'reversed by a transaction that is no reversal of it' END
  FROM wallets_ledgertransaction r
  LEFT JOIN wallets_ledgertransaction o ON o.id = r.reverses_id
 WHERE r.reverses_id IS NOT NULL OR r.type = 'REVERSAL'
 GROUP BY r.reverses_id
HAVING count(*) > 1
    OR bool_or(o.id IS NULL OR r.type <> 'REVERSAL' OR o.owner_id <> r.owner_id OR o.environment <> r.environment
               OR o.posted_at > r.posted_at OR o.id = r.id)
