-- The trail can be added to and nothing else, as long as this trigger stands.
SELECT expected.name || ' on ' || expected.tbl, CASE WHEN t.oid IS NULL THEN 'is missing' ELSE 'is disabled' END
  FROM (VALUES ('core_auditevent', 'auditevent_is_append_only')) AS expected (tbl, name)
  LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(expected.tbl) AND t.tgname = expected.name
 WHERE t.oid IS NULL OR t.tgenabled NOT IN ('O', 'A')
