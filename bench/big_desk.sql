-- A broker's year, written set by set: clients, their money, their orders, and what staff and commands leave behind.
--
-- Every figure follows from row numbers, so each set knows the ids of the others without looking them up. The session is
-- a replica: no trigger fires and no foreign key is checked, so what the triggers promise is kept here by construction:
-- legs cancel out, balances are running sums, versions have no gaps, and each wallet's entries form their chain.
-- `wanted` has the sizes; a line that begins with `-- *` names the step that follows it.

-- * Tools
CREATE FUNCTION pg_temp.chance(n bigint, seed bigint) RETURNS float8 LANGUAGE sql IMMUTABLE
    RETURN (hashint8extended(n, seed) & 9007199254740991) / 9007199254740992::float8;
-- A version 7 id, in the order of the moments; `kind` keeps the ids of one row number apart.
CREATE FUNCTION pg_temp.id_at(at timestamptz, kind int, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
    RETURN (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(kind), 3, '0')
            || '8' || lpad(to_hex(n), 15, '0'))::uuid;
CREATE FUNCTION pg_temp.digest(kind text, n bigint) RETURNS bytea LANGUAGE sql IMMUTABLE
    RETURN sha256(convert_to(kind || n, 'UTF8'));
-- The chain as the ledger links it.
CREATE FUNCTION pg_temp.link(previous bytea, facts text) RETURNS bytea LANGUAGE sql IMMUTABLE
    RETURN sha256(convert_to('1|' || encode(previous, 'hex') || '|' || facts, 'UTF8'));
CREATE AGGREGATE pg_temp.chain(text) (SFUNC = pg_temp.link, STYPE = bytea,
    INITCOND = '\x0000000000000000000000000000000000000000000000000000000000000000');

CREATE TEMP TABLE year AS SELECT now() - interval '365 days' AS since, now() AS until;
CREATE TEMP TABLE house AS SELECT id, kind, environment, currency FROM wallets_wallet WHERE kind LIKE 'HOUSE%';
CREATE TEMP TABLE staff AS
SELECT split_part(email, '@', 1) AS name, id FROM accounts_user WHERE is_staff;
CREATE TEMP TABLE market AS
SELECT row_number() OVER (ORDER BY symbol) AS place, symbol, (bid + ask) / 2 AS mid, i.digits
  FROM trading_quote q JOIN trading_instrument i USING (symbol);

-- * Clients
-- Most came before the year began; every fifth is a demo, every fourth keeps euros.
CREATE TEMP TABLE clients AS
SELECT n, at, pg_temp.id_at(at, 1, n) AS id, pg_temp.id_at(at, 2, n) AS cash, pg_temp.id_at(at, 3, n) AS margin,
       pg_temp.id_at(at, 4, n) AS account,
       CASE WHEN n > 5 AND n % 5 = 0 THEN 'DEMO' ELSE 'LIVE' END AS environment,
       CASE WHEN n % 4 = 0 THEN 'EUR' ELSE 'USD' END AS currency,
       (ARRAY['GB', 'DE', 'FR', 'ES', 'IT', 'PL', 'BR', 'ZA', 'AE', 'SG'])[1 + n % 10] AS country,
       (ARRAY['Ada', 'Ben', 'Cleo', 'Dan', 'Eva', 'Finn', 'Gia', 'Hugo', 'Ines', 'Jon', 'Kaya', 'Leo', 'Mia', 'Noor',
              'Otto', 'Pia', 'Raj', 'Sara', 'Tom', 'Uma'])[1 + n % 20] || ' '
       || (ARRAY['Archer', 'Bauer', 'Costa', 'Dubois', 'Evans', 'Ferrari', 'Garcia', 'Hansen', 'Ivanova', 'Jensen',
                 'Khan', 'Lopez', 'Meyer', 'Novak', 'Okafor', 'Patel', 'Rossi', 'Silva', 'Tanaka'])[1 + n % 19] AS name
  FROM year, wanted, generate_series(1, clients) n,
       LATERAL (SELECT since - interval '10 days' - (1 - n / clients::float8) * interval '700 days' AS at) t;
CREATE UNIQUE INDEX ON clients (n);
ANALYZE clients;
INSERT INTO accounts_user
       (password, last_login, is_superuser, id, email, name, phone, country, date_of_birth, address, is_active, is_staff,
        email_confirmed_at, referral_code, referral_code_entered, referred_by_id, created_at, updated_at)
SELECT '!', NULL, false, id, 'client' || n || '@example.com', name, '+4930' || lpad(n::text, 8, '0'), country,
       date '1960-01-01' + (n % 14000)::int,
       jsonb_build_object('line1', n || ' High Street', 'city', 'Town', 'postal_code', lpad(n::text, 6, '0'),
                          'country', country),
       n % 200 <> 0, false, at, upper(lpad(to_hex(n), 8, '0')), '',
       CASE WHEN n % 3 = 0 THEN (SELECT r.id FROM clients r WHERE r.n = 1 + c.n / 40) END, at, at
  FROM clients c ORDER BY n;
INSERT INTO accounts_tradingaccount
       (id, number, owner_id, wallet_id, environment, currency, leverage, jurisdiction, is_self_trading, created_at,
        updated_at)
SELECT account, CASE environment WHEN 'DEMO' THEN nextval('accounts_number_demo_seq')
                                 ELSE nextval('accounts_number_live_seq') END,
       id, margin, environment, currency, 30, 'ESMA', true, at, at
  FROM clients ORDER BY n;
INSERT INTO accounts_verification
       (id, owner_id, status, documents, reviewed_by_id, reason, created_at, submitted_at, reviewed_at)
SELECT pg_temp.id_at(at, 5, n), c.id, status,
       CASE status WHEN 'PENDING' THEN '[]' ELSE '[{"kind": "PASSPORT", "reference": "C01X00T47"}]' END::jsonb,
       CASE WHEN status IN ('APPROVED', 'REJECTED') THEN kyc.id END,
       CASE WHEN status IN ('APPROVED', 'REJECTED') THEN 'Documents seen' ELSE '' END, at,
       CASE WHEN status <> 'PENDING' THEN at END, CASE WHEN status IN ('APPROVED', 'REJECTED') THEN at END
  FROM clients c
  CROSS JOIN LATERAL (SELECT CASE WHEN n % 200 < 2 THEN 'SUBMITTED' WHEN n % 200 = 2 THEN 'IN_REVIEW'
                                  WHEN n % 200 < 7 THEN 'REJECTED' WHEN n % 200 < 20 THEN 'PENDING'
                                  ELSE 'APPROVED' END AS status) s
  JOIN staff kyc ON kyc.name = 'kyc'
 WHERE environment = 'LIVE' ORDER BY n;
INSERT INTO accounts_freeze
       (id, owner_id, scope, reason, placed_by, placed_at, expires_at, lifted_by, lifted_at, lift_reason)
SELECT pg_temp.id_at(until, 6, n), c.id, (ARRAY['LOGIN', 'TRADING', 'DEPOSITS', 'WITHDRAWALS'])[1 + n / 100 % 4], 'Alert',
       admin.id, until - interval '9 days', until + interval '30 days', CASE WHEN n % 200 = 0 THEN admin.id END,
       CASE WHEN n % 200 = 0 THEN until END, CASE WHEN n % 200 = 0 THEN 'False alarm' ELSE '' END
  FROM year, clients c JOIN staff admin ON admin.name = 'admin' WHERE n % 100 = 0 ORDER BY n;
INSERT INTO accounts_referrerchange
       (id, owner_id, previous_id, referrer_id, status, reason, proposed_by_id, proposed_at, decided_by_id, decided_at,
        decision, effective_from)
SELECT pg_temp.id_at(until, 7, n), c.id, NULL, NULL, CASE WHEN n % 500 = 0 THEN 'PROPOSED' ELSE 'REJECTED' END,
       'Their letter', kyc.id, until, CASE WHEN n % 500 <> 0 THEN admin.id END, CASE WHEN n % 500 <> 0 THEN until END,
       CASE WHEN n % 500 <> 0 THEN 'No proof' ELSE '' END, NULL
  FROM year, clients c JOIN staff kyc ON kyc.name = 'kyc' JOIN staff admin ON admin.name = 'admin'
 WHERE n % 250 = 0 ORDER BY n;
INSERT INTO accounts_apitoken
       (id, owner_id, name, prefix, digest, scopes, addresses, created_at, last_used_at, expires_at, revoked_at)
SELECT pg_temp.id_at(until, 8, k * 100000000 + n), id, 'app', 'dd_' || lpad(to_hex(n * 8 + k), 8, '0'),
       pg_temp.digest('token' || k, n), ARRAY['read', 'trade'], ARRAY[]::text[], until, until,
       until + interval '1 day', CASE WHEN k > 1 THEN until END
  FROM year, clients, generate_series(1, 3) k ORDER BY n;
INSERT INTO wallets_bankaccount
       (id, owner_id, holder, bank_name, branch, code_type, code, number_encrypted, number_hash, number_last_four,
        is_default, created_at)
SELECT pg_temp.id_at(at, 9, n), id, name, 'Commerzbank', '', 'IBAN', '', convert_to(repeat('x', 140), 'UTF8'),
       pg_temp.digest('iban', n), lpad((n % 10000)::text, 4, '0'), true, at
  FROM clients WHERE environment = 'LIVE' ORDER BY n;

-- * Orders
-- So many of the orders were filled, evenly over the year. Five clients made a fourteenth of them between them; of the
-- rest, few made many and most made few.
CREATE TEMP TABLE orders AS
SELECT o.n, o.at, o.is_filled, c.n AS client, c.id AS owner, c.account, c.margin, c.environment, c.currency, m.symbol,
       CASE WHEN pg_temp.chance(o.n, 2) < 0.5 THEN 'BUY' ELSE 'SELL' END AS side,
       (1 + floor(pg_temp.chance(o.n, 3) ^ 3 * 200)) / 100 AS volume,
       round((m.mid * (0.9 + 0.2 * pg_temp.chance(o.n, 4)))::numeric, m.digits) AS price,
       CASE WHEN o.is_filled THEN 'FILLED'
            WHEN o.n % 20 < 12 THEN 'REJECTED' WHEN o.n % 20 < 17 THEN 'CANCELLED' WHEN o.n % 20 < 19 THEN 'EXPIRED'
            ELSE 'WORKING' END AS status,
       CASE WHEN o.is_filled THEN pg_temp.id_at(o.at, 10, o.n) END AS position,
       o.at + interval '3 minutes' + pg_temp.chance(o.n, 5) ^ 4 * interval '20 days' AS closed_at
  FROM (SELECT n, since + (n - 0.5) / orders * (until - since) AS at,
               n * trades / orders > (n - 1) * trades / orders AS is_filled
          FROM year, wanted, generate_series(1, orders) n) o
  CROSS JOIN wanted
  JOIN clients c ON c.n = CASE WHEN o.n % 70 < 5 THEN 1 + o.n % 70
                               ELSE 6 + floor((clients - 5) * pg_temp.chance(o.n, 1) ^ 2.5)::bigint END
  JOIN market m ON m.place = 1 + (o.n + c.n) % (SELECT count(*) FROM market);
UPDATE orders SET closed_at = NULL WHERE NOT is_filled OR closed_at > (SELECT until FROM year);
ANALYZE orders;
INSERT INTO trading_order
       (id, owner_id, account_id, symbol, side, type, volume, price, stop_loss, take_profit, time_in_force, expires_at,
        client_order_id, status, reject_code, reject_context, cancel_reason, price_expected, deviation_max, price_filled,
        margin_reserved, watched_after, idempotency_digest, created_at, updated_at)
SELECT pg_temp.id_at(at, 11, n), owner, account, symbol, side, type, volume, CASE type WHEN 'LIMIT' THEN price END, NULL,
       NULL, CASE type WHEN 'MARKET' THEN 'IOC' ELSE 'GTC' END, NULL, CASE WHEN n % 3 = 0 THEN 'mine-' || n END, status,
       CASE status WHEN 'REJECTED' THEN 'MARGIN_TOO_LOW' ELSE '' END,
       CASE status WHEN 'REJECTED' THEN '{"required": "100.00", "free": "12.50"}'::jsonb END,
       CASE status WHEN 'CANCELLED' THEN 'CLIENT' ELSE '' END, NULL, NULL, CASE WHEN is_filled THEN price END, 0, 0,
       pg_temp.digest('order', n), at, at
  FROM orders, LATERAL (SELECT CASE WHEN status IN ('FILLED', 'REJECTED') THEN 'MARKET' ELSE 'LIMIT' END AS type) t
 ORDER BY n;

-- * Positions
INSERT INTO trading_position
       (id, number, owner_id, account_id, symbol, order_id, side, status, volume_initial, volume, price_open, stop_loss,
        take_profit, watched_after, leverage, margin_initial, margin_locked, profit, commission, swap, rollover_due_at,
        opened_at, closed_at, updated_at)
SELECT position, nextval('trading_position_number_seq'), owner, account, symbol, pg_temp.id_at(at, 11, n), side,
       CASE WHEN closed_at IS NULL THEN 'OPEN' ELSE 'CLOSED' END, volume,
       CASE WHEN closed_at IS NULL THEN volume ELSE 0 END, price, CASE WHEN n % 3 = 0 THEN price * 0.9 END, NULL, 0, 30,
       volume * 10, CASE WHEN closed_at IS NULL THEN volume * 10 ELSE 0 END,
       0, 0, 0, until + interval '1 day', at, closed_at, coalesce(closed_at, at)
  FROM year, orders WHERE is_filled ORDER BY n;

-- * What was posted
-- One row for each transaction: which wallet of the client's moves by how much, against which other wallet.
CREATE TEMP TABLE postings (kind int, n bigint, at timestamptz, type text, reason text, owner uuid, environment text,
                            currency text, wallet uuid, amount numeric(20, 8), other uuid);
INSERT INTO postings
WITH traded AS (SELECT client, count(*) AS trades FROM orders WHERE is_filled GROUP BY client)
SELECT 1, c.n, at + interval '1 day', CASE c.environment WHEN 'DEMO' THEN 'SIGN_UP' ELSE 'DEPOSIT' END,
       CASE c.environment WHEN 'DEMO' THEN 'DEMO_FUNDING' ELSE 'DEPOSIT' END, c.id, c.environment, c.currency, cash,
       1500 + 70 * coalesce(trades, 0), h.id
  FROM clients c LEFT JOIN traded ON client = c.n
  JOIN house h ON h.environment = c.environment AND h.currency = c.currency
   AND h.kind = CASE c.environment WHEN 'DEMO' THEN 'HOUSE_DEMO_FUNDING' ELSE 'HOUSE_PAYMENT_CLEARING' END
UNION ALL
SELECT 2, c.n, at + interval '2 days', 'TRANSFER', 'TRANSFER', id, environment, currency, cash,
       -(500 + 70 * coalesce(trades, 0)), margin
  FROM clients c LEFT JOIN traded ON client = c.n;
INSERT INTO postings
SELECT 3, n, at, 'OPEN', 'COMMISSION', owner, o.environment, o.currency, margin, -round((0.04 + volume * 3)::numeric, 2),
       h.id
  FROM orders o
  JOIN house h ON h.environment = o.environment AND h.currency = o.currency AND h.kind = 'HOUSE_COMMISSION'
 WHERE is_filled
UNION ALL
SELECT 4, n, closed_at, 'CLOSE', 'TRADE_PNL', owner, o.environment, o.currency, margin,
       coalesce(nullif(round((volume * 30 * (pg_temp.chance(n, 6) - 0.52))::numeric, 2), 0), 0.01), h.id
  FROM orders o
  JOIN house h ON h.environment = o.environment AND h.currency = o.currency AND h.kind = 'HOUSE_TRADING_PNL'
 WHERE closed_at IS NOT NULL;
-- Withdrawals are as many as it takes to come to the entries that were asked for.
INSERT INTO postings
SELECT 5, w.n, w.at, 'WITHDRAWAL', 'WITHDRAWAL', c.id, c.environment, c.currency, c.cash, -(10 + w.n % 40), h.id
  FROM (SELECT n, client, since + n / missing::float8 * (until - since) AS at
          FROM year, wanted, LATERAL (SELECT entries / 2 - (SELECT count(*) FROM postings) AS missing) m,
               LATERAL (SELECT array_agg(n) AS live FROM clients WHERE environment = 'LIVE') l,
               generate_series(1, missing) n, LATERAL (SELECT live[1 + n * 7 % array_length(live, 1)] AS client) p) w
  JOIN clients c ON c.n = w.client
  JOIN house h ON h.environment = c.environment AND h.currency = c.currency AND h.kind = 'HOUSE_WITHDRAWAL_CLEARING';
ANALYZE postings;
INSERT INTO wallets_ledgertransaction
       (id, owner_id, type, environment, actor_id, actor_kind, reason, reference, idempotency_digest, request_id,
        reverses_id, posted_at, effective_at)
SELECT pg_temp.id_at(at, 20 + p.kind, n), owner, type, environment, owner,
       CASE p.kind WHEN 1 THEN 'PROVIDER' ELSE 'CLIENT' END, '', CASE p.kind WHEN 5 THEN 'BANK-' || n ELSE '' END,
       pg_temp.digest('posting' || p.kind, n), 'req-' || p.kind || '-' || n, NULL, at, at
  FROM postings p ORDER BY at;

-- * Entries
CREATE TEMP TABLE legs AS
SELECT pg_temp.id_at(at, 30 + kind, n) AS id, pg_temp.id_at(at, 20 + kind, n) AS transaction, owner, wallet, currency,
       amount, reason, at, true AS is_clients
  FROM postings
UNION ALL
SELECT pg_temp.id_at(at, 40 + kind, n), pg_temp.id_at(at, 20 + kind, n), owner, other, currency, -amount, reason, at,
       kind = 2
  FROM postings;
ANALYZE legs;
CREATE TEMP TABLE chained AS
SELECT *, pg_temp.chain(wallet || '|' || version || '|' || transaction || '|' || amount || '|' || balance || '|'
                        || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') || '+00:00') OVER running AS link
  FROM (SELECT *, row_number() OVER running AS version, sum(amount) OVER running AS balance FROM legs
         WHERE is_clients WINDOW running AS (PARTITION BY wallet ORDER BY at, id)) numbered
WINDOW running AS (PARTITION BY wallet ORDER BY version);
ANALYZE chained;
INSERT INTO wallets_entry
       (id, transaction_id, owner_id, wallet_id, currency, amount, reason, balance_after, wallet_version, digest,
        posted_at)
SELECT id, transaction, owner, wallet, currency, amount, reason, balance, version, link, at
  FROM (SELECT id, transaction, owner, wallet, currency, amount, reason, balance, version, link, at FROM chained
        UNION ALL
        SELECT id, transaction, owner, wallet, currency, amount, reason, NULL, NULL, NULL, at
          FROM legs WHERE NOT is_clients) whole
 ORDER BY at;

-- * Deposits and withdrawals
INSERT INTO wallets_deposit
       (id, owner_id, wallet_id, amount, currency, status, provider, provider_reference, idempotency_digest,
        transaction_id, reviewed_by_id, reason, created_at, updated_at, expires_at, completed_at)
SELECT pg_temp.id_at(p.at, 50, n), owner, wallet, amount, currency, 'COMPLETED', 'sandbox', 'pay-' || n,
       pg_temp.digest('deposit', n), pg_temp.id_at(p.at, 21, n), NULL, '', p.at, p.at, p.at + interval '1 day', p.at
  FROM postings p WHERE kind = 1 AND type = 'DEPOSIT' ORDER BY p.at;
INSERT INTO wallets_deposit
       (id, owner_id, wallet_id, amount, currency, status, provider, provider_reference, idempotency_digest,
        transaction_id, reviewed_by_id, reason, created_at, updated_at, expires_at, completed_at)
SELECT pg_temp.id_at(until, 51, n), id, cash, 100 + n % 900, currency,
       CASE WHEN n % 200 = 1 THEN 'CREATED' WHEN n % 200 < 4 THEN 'PENDING' WHEN n % 200 < 8 THEN 'REJECTED'
            ELSE 'EXPIRED' END,
       'manual', NULL, pg_temp.digest('later', n), NULL, NULL, '', until, until, until + interval '1 day', NULL
  FROM year, clients WHERE environment = 'LIVE' AND n % 10 <> 7 ORDER BY n;
INSERT INTO wallets_transfer (id, owner_id, source_id, target_id, amount, currency, transaction_id, created_at)
SELECT pg_temp.id_at(at, 52, n), owner, wallet, other, -amount, currency, pg_temp.id_at(at, 22, n), at
  FROM postings WHERE kind = 2 ORDER BY at;
INSERT INTO wallets_withdrawal
       (id, owner_id, wallet_id, bank_account_id, amount, currency, status, two_person, idempotency_digest,
        transaction_id, reviewed_by_id, approved_by_id, second_approved_by_id, reason, bank_reference, created_at,
        updated_at, approved_at, sent_at, completed_at)
SELECT pg_temp.id_at(p.at, 53, p.n), owner, wallet, pg_temp.id_at(c.at, 9, c.n), -amount, p.currency, 'COMPLETED', false,
       pg_temp.digest('withdrawal', p.n), pg_temp.id_at(p.at, 25, p.n), finance.id, finance.id, NULL, 'Checked',
       'BANK-' || p.n, p.at, p.at, p.at, p.at, p.at
  FROM postings p JOIN clients c ON c.id = p.owner JOIN staff finance ON finance.name = 'finance'
 WHERE kind = 5 ORDER BY p.at;
INSERT INTO wallets_withdrawal
       (id, owner_id, wallet_id, bank_account_id, amount, currency, status, two_person, idempotency_digest,
        transaction_id, reviewed_by_id, approved_by_id, second_approved_by_id, reason, bank_reference, created_at,
        updated_at, approved_at, sent_at, completed_at)
SELECT pg_temp.id_at(asked, 54, n), c.id, cash, pg_temp.id_at(at, 9, n), 20 + n % 50, currency, status,
       status = 'REQUESTED' AND n % 3 = 0, pg_temp.digest('asked', n), NULL,
       CASE WHEN status <> 'REQUESTED' THEN finance.id END,
       CASE WHEN status IN ('APPROVED', 'SENT') THEN finance.id END, NULL,
       CASE WHEN status <> 'REQUESTED' THEN 'Checked' ELSE '' END, '', asked, asked,
       CASE WHEN status IN ('APPROVED', 'SENT') THEN asked END, CASE WHEN status = 'SENT' THEN asked END, NULL
  FROM year, clients c
  CROSS JOIN LATERAL (SELECT until - n % 200 * interval '1 hour' AS asked,
                             CASE WHEN n % 200 < 80 THEN 'REQUESTED' WHEN n % 200 < 100 THEN 'IN_REVIEW'
                                  WHEN n % 200 < 110 THEN 'APPROVED' WHEN n % 200 < 120 THEN 'SENT'
                                  WHEN n % 200 < 160 THEN 'REJECTED' WHEN n % 200 < 190 THEN 'CANCELLED'
                                  ELSE 'FAILED' END AS status) s
  JOIN staff finance ON finance.name = 'finance'
 WHERE environment = 'LIVE' AND n % 13 = 0 ORDER BY asked;

-- * Wallets
INSERT INTO wallets_wallet
       (id, number, owner_id, environment, kind, currency, balance, held, credit, realized_profit, status,
        deposits_enabled, withdrawals_enabled, trading_enabled, verified, version, head, created_at, updated_at)
WITH sums AS (
    SELECT wallet, sum(amount) AS balance, count(*) AS version, max(at) AS at,
           (array_agg(link ORDER BY version DESC))[1] AS head,
           coalesce(sum(amount) FILTER (WHERE reason IN ('TRADE_PNL', 'COMMISSION')), 0) AS realized
      FROM chained GROUP BY wallet
), held AS (
    SELECT wallet_id AS wallet, sum(amount) AS amount FROM wallets_withdrawal
     WHERE status IN ('REQUESTED', 'IN_REVIEW', 'APPROVED', 'SENT') GROUP BY wallet_id
    UNION ALL
    SELECT margin, sum(volume * 10) FROM orders WHERE is_filled AND closed_at IS NULL GROUP BY margin
), opened AS (
    SELECT n, cash AS id, 'CASH' AS kind FROM clients UNION ALL SELECT n, margin, 'MARGIN' FROM clients
)
SELECT o.id, 'W' || nextval('wallets_number_seq'), c.id, environment, kind, currency, s.balance,
       coalesce(h.amount, 0), 0, s.realized, 'ACTIVE', true, true, true, true, s.version, s.head, c.at, s.at
  FROM opened o JOIN clients c USING (n) JOIN sums s ON s.wallet = o.id LEFT JOIN held h ON h.wallet = o.id
 ORDER BY n, kind;
-- The house's last legs are not folded yet.
INSERT INTO wallets_unfoldedleg (entry_id, wallet_id, amount)
SELECT id, wallet, amount FROM legs WHERE NOT is_clients ORDER BY at DESC LIMIT 1000;
UPDATE wallets_wallet w SET balance = s.balance
  FROM (SELECT wallet, sum(amount) AS balance FROM legs l
         WHERE NOT is_clients AND NOT EXISTS (SELECT FROM wallets_unfoldedleg u WHERE u.entry_id = l.id)
         GROUP BY wallet) s
 WHERE w.id = s.wallet;

-- * Deals
INSERT INTO trading_deal
       (id, owner_id, account_id, position_id, order_id, symbol, entry, cause, batch, side, volume, price, price_open,
        margin, profit, commission, compensation, inputs, transaction_id, idempotency_digest, executed_at)
SELECT pg_temp.id_at(p.at, 70 + kind, o.n), o.owner, account, position,
       CASE kind WHEN 3 THEN pg_temp.id_at(o.at, 11, o.n) END, symbol, CASE kind WHEN 3 THEN 'IN' ELSE 'OUT' END, cause,
       CASE WHEN cause <> 'CLIENT' THEN 1 END, side, volume, price, price, volume * 10,
       CASE kind WHEN 4 THEN amount ELSE 0 END, CASE kind WHEN 3 THEN -amount ELSE 0 END, 0,
       CASE kind WHEN 3 THEN inputs_in ELSE inputs_out END, pg_temp.id_at(p.at, 20 + kind, o.n),
       pg_temp.digest('deal' || kind, o.n), p.at
  FROM wanted, postings p JOIN orders o ON o.n = p.n,
       LATERAL (SELECT CASE WHEN kind = 3 OR o.n % 10 < 8 THEN 'CLIENT'
                            ELSE (ARRAY['STOP_LOSS', 'TAKE_PROFIT', 'STOP_OUT'])[1 + o.n % 3] END AS cause) c
 WHERE kind IN (3, 4) ORDER BY p.at;
INSERT INTO trading_swap
       (id, owner_id, account_id, position_id, symbol, night, rollover_at, nights, side, volume, mode, rate, price,
        price_basis, amount, compensation, inputs, transaction_id, charged_at)
SELECT pg_temp.id_at(ended, 75, n), owner, account, position, symbol, ended::date, ended, 1, side, volume, 'POINTS', 0,
       price, 'AT_ROLLOVER', 0, 0, '{}', NULL, ended
  FROM orders, LATERAL (SELECT at + interval '1 day' AS ended) t
 WHERE closed_at > ended AND n % 2 = 0 ORDER BY n;
INSERT INTO trading_marginevent (id, owner_id, account_id, kind, batch, equity, held, report, created_at)
SELECT pg_temp.id_at(at, 76, n), owner, account,
       CASE WHEN n % 200 = 0 THEN 'STOP_OUT' WHEN n % 100 = 0 THEN 'MARGIN_CALL_LIFTED' ELSE 'MARGIN_CALL' END, n, 100,
       120, jsonb_build_object('before', jsonb_build_object('equity', '100.00', 'held', '120.00')), at
  FROM orders WHERE n % 50 = 0 ORDER BY n;
INSERT INTO trading_accountwatch (account_id, owner_id, sequence, batch, funds, held, called_at, updated_at)
SELECT account, owner, count(*), 1, 0, 0, NULL, max(at) FROM orders GROUP BY account, owner;
INSERT INTO trading_priceband (id, owner_id, account_id, symbol, low, high, spread_max)
SELECT pg_temp.id_at(max(at), 77, max(n)), owner, account, symbol, 0, 9999999999, 1
  FROM orders WHERE is_filled AND closed_at IS NULL GROUP BY owner, account, symbol;

-- * Prices
INSERT INTO trading_pricebatch (number, source, received_at, size)
SELECT number + n, 'big', until - (batches - n) * interval '1 second', (SELECT count(*) FROM market)
  FROM year, trading_priceclock, wanted, LATERAL (SELECT orders / 50 AS batches) b, generate_series(1, batches) n;
INSERT INTO trading_quotetick (id, symbol, batch, bid, ask, source, quoted_at, received_at, sequence)
SELECT pg_temp.id_at(received_at, 78, b.number * 100 + place), symbol, b.number, mid, mid, 'big', received_at,
       received_at, b.number
  FROM trading_pricebatch b, market WHERE b.source = 'big' ORDER BY b.number;
UPDATE trading_priceclock SET number = (SELECT max(number) FROM trading_pricebatch);
INSERT INTO trading_quotealert (symbol, source, kind, figures, quoted_at, after_sequence, raised_at)
SELECT symbol, 'big', (ARRAY['STALE', 'DUPLICATE', 'CROSSED'])[1 + number % 3], '{}', received_at, NULL, received_at
  FROM trading_pricebatch, market WHERE number % 10 = 0;

-- * Referrals
INSERT INTO referrals_accrual
       (deal_id, owner_id, chain, outcome, plan_id, levels, currency, volume, commission, spread, compensation, revenue,
        pool, executed_at, accrued_at)
SELECT pg_temp.id_at(o.closed_at, 74, o.n), o.owner, CASE WHEN is_referred THEN ARRAY[r.id] ELSE ARRAY[]::uuid[] END,
       CASE WHEN is_referred THEN 'ACCRUED' ELSE 'UNREFERRED' END, CASE WHEN is_referred THEN plan.id END,
       CASE WHEN is_referred THEN ARRAY[1] ELSE ARRAY[]::int[] END, CASE WHEN is_referred THEN 'USD' ELSE '' END,
       CASE WHEN is_referred THEN volume END, 0.04, 1, 0, 1.04, 0.62, o.closed_at, o.closed_at
  FROM orders o JOIN clients r ON r.n = 1 + o.client / 40
  CROSS JOIN LATERAL (SELECT o.client % 3 = 0 AND r.id <> o.owner AS is_referred) f
  CROSS JOIN (SELECT id FROM referrals_commissionplan WHERE kind <> 'FIRST_DEPOSIT' LIMIT 1) plan
 WHERE o.closed_at IS NOT NULL AND o.environment = 'LIVE' ORDER BY o.closed_at;
INSERT INTO referrals_commission
       (id, owner_id, client_id, deal_id, deposit_id, level, plan_id, volume, amount, currency, status, reason,
        transaction_id, reversal_id, created_at, approved_at, approved_by, paid_at, reversed_at, reversed_by)
SELECT pg_temp.id_at(executed_at, 80, row_number() OVER (ORDER BY deal_id)), chain[1], owner_id, deal_id, NULL, 1,
       plan_id, volume, 0.5, 'USD', 'APPROVED', '', NULL, NULL, executed_at, executed_at, NULL, NULL, NULL, NULL
  FROM referrals_accrual WHERE outcome = 'ACCRUED' ORDER BY deal_id;
UPDATE referrals_commission SET status = 'PENDING', approved_at = NULL
 WHERE created_at > (SELECT until - interval '2 days' FROM year);
UPDATE referrals_commission c
   SET status = 'REVERSED', reason = 'One household', reversed_at = created_at,
       reversed_by = (SELECT id FROM staff WHERE name = 'kyc')
 WHERE status = 'APPROVED' AND hashtext(id::text) % 20 = 0;
INSERT INTO referrals_debt (id, owner_id, commission_id, currency, amount, settled, created_at, settled_at)
SELECT pg_temp.id_at(created_at, 81, row_number() OVER (ORDER BY id)), owner_id, id, currency, amount, 0, created_at, NULL
  FROM referrals_commission WHERE status = 'REVERSED';

-- * Keys, audit events and jobs
INSERT INTO core_idempotencykey
       (id, owner, digest, operation, request_hash, status, response_status, response_body, effect_id, created_at,
        completed_at, expires_at)
SELECT pg_temp.id_at(asked, 90, n), owner, pg_temp.digest('order', n), 'OPEN', pg_temp.digest('body', n),
       CASE WHEN n % 100 = 0 THEN 'FAILED' ELSE 'COMPLETED' END, CASE WHEN n % 100 = 0 THEN 422 ELSE 201 END,
       convert_to(repeat('{"id": "0"}', 40), 'UTF8'), pg_temp.id_at(at, 11, n), asked, asked, until + interval '1 hour'
  FROM year, orders, LATERAL (SELECT until - n % 3600 * interval '1 second' AS asked) t WHERE n % 10 = 0 ORDER BY asked;
INSERT INTO core_auditevent
       (id, owner, action, actor_id, actor_kind, object_type, object_id, before, after, reason, request_id, address,
        created_at)
SELECT pg_temp.id_at(moment, 91 + k, n), c.id, action, actor, kind, object_type, object_id, '{"status": "PENDING"}',
       '{"status": "APPROVED"}', CASE kind WHEN 'STAFF' THEN 'Documents seen' ELSE '' END, 'req-' || k || '-' || n,
       '198.51.100.7', moment
  FROM clients c JOIN staff kyc ON kyc.name = 'kyc',
       LATERAL (VALUES
           (0, 'accounts.email.confirmed', c.id, 'CLIENT', 'accounts.user', c.id::text),
           (1, 'accounts.verification.submitted', c.id, 'CLIENT', 'accounts.verification', c.id::text),
           (2, 'accounts.verification.reviewed', kyc.id, 'STAFF', 'accounts.verification', c.id::text),
           (3, 'accounts.trading_account.opened', c.id, 'CLIENT', 'accounts.tradingaccount', c.account::text),
           (4, 'accounts.token.created', c.id, 'CLIENT', 'accounts.apitoken', c.id::text),
           (5, 'accounts.session.opened', c.id, 'CLIENT', 'accounts.apitoken', c.id::text)
       ) AS e (k, action, actor, kind, object_type, object_id),
       LATERAL (SELECT c.at + k * interval '1 hour' AS moment) t ORDER BY moment;
INSERT INTO core_auditevent
       (id, owner, action, actor_id, actor_kind, object_type, object_id, before, after, reason, request_id, address,
        created_at)
SELECT pg_temp.id_at(created_at, 98, row_number() OVER (ORDER BY id)), owner_id,
       'wallets.withdrawal.' || CASE status WHEN 'COMPLETED' THEN 'completed' ELSE 'requested' END, owner_id, 'CLIENT',
       'wallets.withdrawal', id::text, NULL, jsonb_build_object('status', status), '', '', NULL, created_at
  FROM wallets_withdrawal ORDER BY created_at;
INSERT INTO core_jobrun (id, name, status, started_at, beat_at, ended_at, counts, error)
SELECT pg_temp.id_at(began, 99, n), (ARRAY['fold_house', 'charge_swaps', 'pay_commissions', 'expire_deposits'])[1 + n % 4],
       CASE WHEN n % 1000 = 0 THEN 'FAILED' ELSE 'SUCCEEDED' END, began, began, began + interval '2 seconds',
       '{"rows": 100}', CASE WHEN n % 1000 = 0 THEN 'ConnectionError' ELSE '' END
  FROM year, wanted, generate_series(1, clients) n, LATERAL (SELECT until - (clients - n) * interval '10 minutes' AS began) t;
