-- One intent, one transaction: no digest of an owner is on two of them.
SELECT 'owner ' || t.owner_id, count(*) || ' transactions have digest ' || encode(t.idempotency_digest, 'hex')
  FROM wallets_ledgertransaction t
 GROUP BY t.owner_id, t.idempotency_digest
HAVING count(*) > 1
