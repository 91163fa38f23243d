-- A bonus was given and taken back as credit, by the postings it names; and whatever was posted as a bonus has one.
SELECT 'bonus ' || b.id,
       b.amount || ' given and ' || coalesce(b.removed, 0) || ' taken back, posted ' || given.amount || ' and '
       || taken.amount
  FROM referrals_signupbonus b
  JOIN accounts_tradingaccount a ON a.id = b.account_id
 CROSS JOIN LATERAL (SELECT coalesce(sum(e.amount), 0) AS amount FROM wallets_entry e
                      WHERE e.transaction_id = b.transaction_id AND e.wallet_id = a.wallet_id
                        AND e.reason = 'CREDIT_IN') given
 CROSS JOIN LATERAL (SELECT coalesce(sum(-e.amount), 0) AS amount FROM wallets_entry e
                      WHERE e.transaction_id = b.removal_id AND e.wallet_id = a.wallet_id
                        AND e.reason = 'CREDIT_OUT') taken
 WHERE (b.amount, coalesce(b.removed, 0)) <> (given.amount, taken.amount)
    OR a.owner_id <> b.owner_id OR a.environment <> 'LIVE' OR a.currency <> b.currency
UNION ALL
SELECT 'transaction ' || t.id, 'posted as a bonus, but there is none'
  FROM wallets_ledgertransaction t
 WHERE t.type = 'BONUS'
   AND NOT EXISTS (SELECT FROM referrals_signupbonus b WHERE b.transaction_id = t.id OR b.removal_id = t.id)
