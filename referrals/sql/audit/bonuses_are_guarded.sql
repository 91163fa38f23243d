-- Terms, bonuses and who had one keep their guards.
SELECT expected.name || ' on ' || expected.tbl, CASE WHEN t.oid IS NULL THEN 'is missing' ELSE 'is disabled' END
  FROM (VALUES ('referrals_bonuspolicy', 'bonuspolicy_is_append_only'),
               ('referrals_bonusidentity', 'bonusidentity_is_append_only'),
               ('referrals_signupbonus', 'signupbonus_is_never_deleted'),
               ('referrals_signupbonus', 'signupbonus_only_ends')) AS expected (tbl, name)
  LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(expected.tbl) AND t.tgname = expected.name
 WHERE t.oid IS NULL OR t.tgenabled NOT IN ('O', 'A')
