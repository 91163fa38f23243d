-- An id carries the millisecond it was made in: an event that claims another time was put in later.
SELECT e.id::text, 'says ' || e.created_at || ', was made ' || made.at
  FROM core_auditevent e
 CROSS JOIN LATERAL (
       SELECT to_timestamp(('x' || left(replace(e.id::text, '-', ''), 12))::bit(48)::bigint / 1000.0) AS at) made
 WHERE abs(extract(epoch FROM e.created_at - made.at)) > 60 OR e.created_at > now() + interval '1 minute'
