-- The triggers that keep the ledger append-only and whole are there, and no trigger of ours is switched off.
SELECT 'trigger ' || g.name, 'it is gone'
  FROM (VALUES ('wallets_ledgertransaction', 'ledgertransaction_is_append_only'),
               ('wallets_ledgertransaction', 'ledgertransaction_is_judged'),
               ('wallets_entry', 'entry_is_append_only'),
               ('wallets_entry', 'entry_is_judged'),
               ('wallets_seal', 'seal_is_append_only'),
               ('wallets_wallet', 'wallet_is_never_deleted'),
               ('wallets_wallet', 'wallet_keeps_its_identity'),
               ('wallets_adjustment', 'adjustment_is_never_deleted'),
               ('wallets_adjustment', 'adjustment_keeps_its_terms'),
               ('core_auditevent', 'auditevent_is_append_only')) AS g (relation, name)
 WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgname = g.name AND t.tgrelid = g.relation::regclass)
UNION ALL
SELECT 'trigger ' || t.tgname, 'it is switched off on ' || c.relname
  FROM pg_trigger t
  JOIN pg_class c ON c.oid = t.tgrelid
 WHERE c.relnamespace = 'public'::regnamespace AND t.tgenabled NOT IN ('O', 'A')
