-- Every closing deal is noted, and what was decided about it, paid or promised stays as it was.
SELECT expected.name || ' on ' || expected.tbl, CASE WHEN t.oid IS NULL THEN 'is missing' ELSE 'is disabled' END
  FROM (VALUES ('trading_deal', 'deal_awaits_accrual'),
               ('referrals_accrual', 'accrual_is_decided_once'),
               ('referrals_accrual', 'accrual_is_never_deleted'),
               ('referrals_commissionplan', 'commissionplan_keeps_its_terms'),
               ('referrals_commissionplan', 'commissionplan_is_never_deleted'),
               ('referrals_commission', 'commission_keeps_what_it_is'),
               ('referrals_commission', 'commission_is_never_deleted'),
               ('referrals_debt', 'debt_is_never_deleted'),
               ('referrals_debtsettlement', 'debtsettlement_is_append_only')) AS expected (tbl, name)
  LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(expected.tbl) AND t.tgname = expected.name
 WHERE t.oid IS NULL OR t.tgenabled NOT IN ('O', 'A')
