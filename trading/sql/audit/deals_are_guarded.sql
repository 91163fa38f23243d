-- A deal is what was agreed, a swap what a night cost, a margin event what a client was told; none changes afterwards.
SELECT expected.name || ' on ' || expected.tbl, CASE WHEN t.oid IS NULL THEN 'is missing' ELSE 'is disabled' END
  FROM (VALUES ('trading_deal', 'deal_is_append_only'), ('trading_swap', 'swap_is_append_only'),
               ('trading_marginevent', 'marginevent_is_append_only'))
       AS expected (tbl, name)
  LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(expected.tbl) AND t.tgname = expected.name
 WHERE t.oid IS NULL OR t.tgenabled NOT IN ('O', 'A')
