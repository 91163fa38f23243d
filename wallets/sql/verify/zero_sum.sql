-- Every transaction has two legs or more in each of its currencies, and they sum to zero.
SELECT 'transaction ' || t.id,
       count(e.id) || ' legs in ' || coalesce(e.currency, 'no currency') || ' sum to ' || coalesce(sum(e.amount), 0)
  FROM wallets_ledgertransaction t
  LEFT JOIN wallets_entry e ON e.transaction_id = t.id
 GROUP BY t.id, e.currency
HAVING count(e.id) < 2 OR sum(e.amount) <> 0
