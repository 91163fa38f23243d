-- What keeps the ledger append-only, whole and zero-sum, also against those who are not us.
SELECT expected.name || ' on ' || expected.tbl, CASE WHEN t.oid IS NULL THEN 'is missing' ELSE 'is disabled' END
  FROM (VALUES ('wallets_ledgertransaction', 'ledgertransaction_is_append_only'),
               ('wallets_ledgertransaction', 'ledgertransaction_is_judged'),
               ('wallets_entry', 'entry_is_append_only'),
               ('wallets_entry', 'entry_is_judged'),
               ('wallets_seal', 'seal_is_append_only'),
               ('wallets_wallet', 'wallet_is_never_deleted'),
               ('wallets_wallet', 'wallet_keeps_its_identity'),
               ('wallets_adjustment', 'adjustment_is_never_deleted'),
               ('wallets_adjustment', 'adjustment_keeps_its_terms')) AS expected (tbl, name)
  LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(expected.tbl) AND t.tgname = expected.name
 WHERE t.oid IS NULL OR t.tgenabled NOT IN ('O', 'A')
