-- A transaction moves demo money or live money, never both, and says which.
SELECT 'transaction ' || t.id, t.environment || ', but a leg is in the ' || w.environment || ' wallet ' || w.number
  FROM wallets_entry e
  JOIN wallets_ledgertransaction t ON t.id = e.transaction_id
  JOIN wallets_wallet w ON w.id = e.wallet_id
 WHERE w.environment <> t.environment
