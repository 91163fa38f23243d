-- What was found, under which rule, and what people noted about it keep their guards.
SELECT expected.name || ' on ' || expected.tbl, CASE WHEN t.oid IS NULL THEN 'is missing' ELSE 'is disabled' END
  FROM (VALUES ('alerts_alert', 'alert_keeps_what_was_found'),
               ('alerts_alert', 'alert_is_never_deleted'),
               ('alerts_alertnote', 'alertnote_is_append_only'),
               ('alerts_alertrule', 'alertrule_is_append_only')) AS expected (tbl, name)
  LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(expected.tbl) AND t.tgname = expected.name
 WHERE t.oid IS NULL OR t.tgenabled NOT IN ('O', 'A')
