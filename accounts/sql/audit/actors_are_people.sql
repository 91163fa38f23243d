-- Clients and staff who acted exist.
SELECT e.id::text, e.actor_kind || ' ' || coalesce(e.actor_id::text, 'nobody') || ' is not known'
  FROM core_auditevent e
 WHERE e.actor_kind IN ('CLIENT', 'STAFF')
   AND NOT EXISTS (SELECT FROM accounts_user u WHERE u.id = e.actor_id)
