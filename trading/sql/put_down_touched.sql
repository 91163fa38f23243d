-- Put down a task for every account that a price batch touches, and let the cursor know.
--
-- Each price looks into the indexes that are sorted by what waits for it, so the time this takes grows with what is
-- touched and not with what is open. The caller has turned sequential scans off: the planner cannot know what a price will
-- be, takes "above it" for a third of the table, and would read that from end to end.
--
-- A price is compared with what it did not know yet: `watched_after` is the batch that was known when an order, a stop
-- or a target was set, so only later ones count.
WITH ticks AS MATERIALIZED (
    SELECT t.symbol, t.batch, t.bid, t.ask
      FROM trading_instrument i
     CROSS JOIN LATERAL (SELECT q.symbol, q.batch, q.bid, q.ask, q.received_at
                           FROM trading_quotetick q
                          WHERE q.symbol = i.symbol AND q.batch <= %(batch)s::bigint
                          ORDER BY q.batch DESC LIMIT 1) t
     WHERE t.received_at >= %(since)s::timestamptz
), touched AS (
    SELECT found.account_id, found.owner_id
      FROM ticks t
     CROSS JOIN LATERAL (
           SELECT o.account_id, o.owner_id
             FROM trading_order o
            WHERE o.status = 'WORKING' AND o.symbol = t.symbol AND o.type = 'LIMIT' AND o.side = 'BUY'
              AND o.price >= t.ask AND o.watched_after < t.batch
           UNION ALL
           SELECT o.account_id, o.owner_id
             FROM trading_order o
            WHERE o.status = 'WORKING' AND o.symbol = t.symbol AND o.type = 'STOP' AND o.side = 'BUY'
              AND o.price <= t.ask AND o.watched_after < t.batch
           UNION ALL
           SELECT o.account_id, o.owner_id
             FROM trading_order o
            WHERE o.status = 'WORKING' AND o.symbol = t.symbol AND o.type = 'LIMIT' AND o.side = 'SELL'
              AND o.price <= t.bid AND o.watched_after < t.batch
           UNION ALL
           SELECT o.account_id, o.owner_id
             FROM trading_order o
            WHERE o.status = 'WORKING' AND o.symbol = t.symbol AND o.type = 'STOP' AND o.side = 'SELL'
              AND o.price >= t.bid AND o.watched_after < t.batch
           UNION ALL
           SELECT p.account_id, p.owner_id
             FROM trading_position p
            WHERE p.status = 'OPEN' AND p.symbol = t.symbol AND p.side = 'BUY'
              AND p.stop_loss >= t.bid AND p.watched_after < t.batch
           UNION ALL
           SELECT p.account_id, p.owner_id
             FROM trading_position p
            WHERE p.status = 'OPEN' AND p.symbol = t.symbol AND p.side = 'BUY'
              AND p.take_profit <= t.bid AND p.watched_after < t.batch
           UNION ALL
           SELECT p.account_id, p.owner_id
             FROM trading_position p
            WHERE p.status = 'OPEN' AND p.symbol = t.symbol AND p.side = 'SELL'
              AND p.stop_loss <= t.ask AND p.watched_after < t.batch
           UNION ALL
           SELECT p.account_id, p.owner_id
             FROM trading_position p
            WHERE p.status = 'OPEN' AND p.symbol = t.symbol AND p.side = 'SELL'
              AND p.take_profit >= t.ask AND p.watched_after < t.batch
           UNION ALL
           SELECT b.account_id, b.owner_id
             FROM trading_priceband b WHERE b.symbol = t.symbol AND b.low > t.bid
           UNION ALL
           SELECT b.account_id, b.owner_id
             FROM trading_priceband b WHERE b.symbol = t.symbol AND b.high < t.ask
           UNION ALL
           SELECT b.account_id, b.owner_id
             FROM trading_priceband b WHERE b.symbol = t.symbol AND b.spread_max < t.ask - t.bid
           ) found
    UNION ALL
    SELECT o.account_id, o.owner_id
      FROM trading_order o
     WHERE o.status = 'WORKING' AND o.expires_at <= %(expired_by)s::timestamptz
), put AS (
    -- A task that was put aside stays as it is and catches up by itself. Updating it waits for whoever is at it right
    -- now, so that it is either still there, and will come by this batch, or gone, and put down anew.
    INSERT INTO trading_risktask AS known (account_id, owner_id, batch, attempts, error, created_at)
    SELECT DISTINCT ON (account_id) account_id, owner_id, %(batch)s::bigint, 0, '', %(now)s::timestamptz
      FROM touched
     ORDER BY account_id
        ON CONFLICT (account_id) DO UPDATE SET created_at = known.created_at
    RETURNING account_id
), moved AS (
    UPDATE trading_riskcursor SET batch = %(batch)s::bigint WHERE id = 1 AND batch < %(batch)s::bigint
)
SELECT count(*) FROM put
