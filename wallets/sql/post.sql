-- One posting, one statement: the wallets' new balances, the transaction, its entries, the house's unfolded legs, (with
-- a claim) the idempotency key's answer and the operation's own row, where it has one, have one fate.
--
-- The caller holds the wallets' row locks and has computed every figure from the rows it locked. `moved` repeats the
-- version and the hold that it saw: a wallet that is not as it was read is not updated, the counts below do not match,
-- and the caller rolls everything back. The guard triggers judge the whole at the end of the statement.
--
-- There is one text per number of wallets and legs: a plain parameter costs the driver a tenth of an array of two.
WITH moved AS (
    UPDATE wallets_wallet w
       SET balance = s.balance, held = s.held, credit = s.credit, realized_profit = s.realized_profit,
           version = s.version, head = s.head, updated_at = %(now)s::timestamptz
      FROM (VALUES {wallets})
           AS s (id, owner_id, seen, seen_held, balance, held, credit, realized_profit, version, head)
     WHERE w.id = s.id AND w.owner_id = s.owner_id AND w.version = s.seen AND w.held = s.seen_held
    RETURNING w.id
), posted AS (
    INSERT INTO wallets_ledgertransaction
           (id, owner_id, type, environment, actor_id, actor_kind, reason, reference, idempotency_digest, request_id,
            reverses_id, posted_at, effective_at)
    VALUES (%(id)s::uuid, %(owner)s::uuid, %(type)s::text, %(environment)s::text, %(actor_id)s::uuid,
            %(actor_kind)s::text, %(reason)s::text, %(reference)s::text, %(digest)s::bytea, %(request_id)s::text,
            %(reverses)s::uuid, %(now)s::timestamptz, %(effective_at)s::timestamptz)
    RETURNING id
), legs AS (
    INSERT INTO wallets_entry
           (id, transaction_id, owner_id, wallet_id, currency, amount, reason, balance_after, wallet_version, digest,
            posted_at)
    SELECT s.id, %(id)s::uuid, s.owner_id, s.wallet_id, %(currency)s::text, s.amount, s.reason, s.balance_after,
           s.wallet_version, s.digest, %(now)s::timestamptz
      FROM (VALUES {legs})
           AS s (id, owner_id, wallet_id, amount, reason, balance_after, wallet_version, digest)
    RETURNING id, wallet_id, amount, wallet_version
), unfolded AS (
    INSERT INTO wallets_unfoldedleg (entry_id, wallet_id, amount)
    SELECT legs.id, legs.wallet_id, legs.amount FROM legs WHERE legs.wallet_version IS NULL
    RETURNING entry_id
){also}
SELECT (SELECT count(*) FROM moved), (SELECT count(*) FROM legs), {answers}, {records}
