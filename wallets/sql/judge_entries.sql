-- Every statement that adds entries adds whole transactions. These checks see the table after the statement, so one
-- posting (wallets, transaction and entries together) is judged as a whole. They stand in for foreign keys, which
-- would take a share lock on wallets and users that every posting wants at once.
--
-- A session keeps the plans that it made when the ledger was young, and the cheapest way to read a small table is to read
-- it whole: an hour later every posting would read the whole ledger. Hence no sequential scans in here, and look-ups
-- with a LIMIT, which the planner cannot turn into a join of whole tables.
CREATE OR REPLACE FUNCTION wallets_judge_entries() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    flaw record;
BEGIN
    SELECT e.id, e.transaction_id,
           CASE
               WHEN t.id IS NULL THEN 'entry_transaction_exists'
               WHEN w.id IS NULL THEN 'entry_wallet_exists'
               WHEN w.currency <> e.currency THEN 'entry_has_its_wallets_currency'
               WHEN w.environment <> t.environment THEN 'entry_stays_in_one_environment'
               WHEN w.kind IN ('CASH', 'MARGIN') THEN
                   CASE
                       WHEN e.owner_id <> w.owner_id THEN 'entry_has_its_wallets_owner'
                       WHEN e.reason IN ('CREDIT_IN', 'CREDIT_OUT') AND w.kind <> 'MARGIN'
                           THEN 'entry_of_credit_is_a_margin_wallets'
                       WHEN e.wallet_version IS NULL OR e.wallet_version > w.version THEN 'entry_is_chained'
                       WHEN e.wallet_version = w.version
                            AND (e.balance_after <> w.balance OR e.digest <> w.head) THEN 'entry_is_the_wallets_head'
                   END
               WHEN e.wallet_version IS NOT NULL THEN 'entry_of_the_house_is_not_chained'
               WHEN e.owner_id <> t.owner_id THEN 'entry_of_the_house_has_its_transactions_owner'
           END AS rule
      INTO flaw
      FROM added e
      LEFT JOIN LATERAL (SELECT * FROM wallets_ledgertransaction l WHERE l.id = e.transaction_id LIMIT 1) t ON true
      LEFT JOIN LATERAL (SELECT * FROM wallets_wallet l WHERE l.id = e.wallet_id LIMIT 1) w ON true
     WHERE t.id IS NULL OR w.id IS NULL OR w.currency <> e.currency OR w.environment <> t.environment
        OR (w.kind IN ('CASH', 'MARGIN')
            AND (e.owner_id <> w.owner_id OR e.wallet_version IS NULL OR e.wallet_version > w.version
                 OR (w.kind <> 'MARGIN' AND e.reason IN ('CREDIT_IN', 'CREDIT_OUT'))
                 OR (e.wallet_version = w.version AND (e.balance_after <> w.balance OR e.digest <> w.head))))
        OR (w.kind NOT IN ('CASH', 'MARGIN') AND (e.wallet_version IS NOT NULL OR e.owner_id <> t.owner_id))
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % of transaction % breaks %', flaw.id, flaw.transaction_id, flaw.rule
            USING ERRCODE = 'check_violation', TABLE = 'wallets_entry', CONSTRAINT = flaw.rule;
    END IF;

    SELECT a.transaction_id, a.legs AS added, sums.currency, sums.total, sums.legs, sums.legs_in_all
      INTO flaw
      FROM (SELECT added.transaction_id, count(*) AS legs FROM added GROUP BY added.transaction_id) a
     CROSS JOIN LATERAL (
           SELECT e.currency, sum(e.amount) AS total, count(*) AS legs, sum(count(*)) OVER () AS legs_in_all
             FROM wallets_entry e
            WHERE e.transaction_id = a.transaction_id
            GROUP BY e.currency) sums
     WHERE sums.total <> 0 OR sums.legs < 2 OR sums.legs_in_all <> a.legs
     LIMIT 1;
    IF FOUND THEN
        IF flaw.added < flaw.legs_in_all THEN
            RAISE EXCEPTION 'transaction % was posted before and takes no more legs', flaw.transaction_id
                USING ERRCODE = 'check_violation', TABLE = 'wallets_entry', CONSTRAINT = 'entry_joins_nothing_posted';
        END IF;
        RAISE EXCEPTION 'transaction % has % legs in % that sum to %',
                        flaw.transaction_id, flaw.legs, flaw.currency, flaw.total
            USING ERRCODE = 'check_violation', TABLE = 'wallets_entry', CONSTRAINT = 'entry_legs_sum_to_zero';
    END IF;
    RETURN NULL;
END
$$;
