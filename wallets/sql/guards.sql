-- The ledger defends itself: what the Python above it promises, these triggers refuse to let anybody break.

-- Money that moved stays moved. A correction is a new transaction that names the one it reverses.
CREATE TRIGGER ledgertransaction_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON wallets_ledgertransaction
    FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();
CREATE TRIGGER entry_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON wallets_entry
    FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();
CREATE TRIGGER seal_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON wallets_seal
    FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();

-- A wallet is closed, never deleted, and never becomes another wallet.
CREATE TRIGGER wallet_is_never_deleted
    BEFORE DELETE OR TRUNCATE ON wallets_wallet
    FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();
CREATE TRIGGER wallet_keeps_its_identity
    BEFORE UPDATE OF id, number, owner_id, environment, kind, currency ON wallets_wallet
    FOR EACH ROW
    WHEN (OLD.id <> NEW.id OR OLD.number <> NEW.number OR OLD.owner_id <> NEW.owner_id
          OR OLD.environment <> NEW.environment OR OLD.kind <> NEW.kind OR OLD.currency <> NEW.currency)
    EXECUTE FUNCTION desk_refuse_change();

-- Every statement that adds entries adds whole transactions: judge_entries.sql says what that takes.
CREATE TRIGGER entry_is_judged
    AFTER INSERT ON wallets_entry REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION wallets_judge_entries();

CREATE FUNCTION wallets_judge_transactions() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    bare uuid;
BEGIN
    SELECT t.id INTO bare
      FROM added t
     WHERE (SELECT e.id FROM wallets_entry e WHERE e.transaction_id = t.id LIMIT 1) IS NULL
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'transaction % moves nothing', bare
            USING ERRCODE = 'check_violation', TABLE = 'wallets_ledgertransaction',
                  CONSTRAINT = 'ledgertransaction_has_legs';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER ledgertransaction_is_judged
    AFTER INSERT ON wallets_ledgertransaction REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION wallets_judge_transactions();

-- Public numbers do not betray how many there are of anything else.
CREATE SEQUENCE wallets_number_seq AS bigint START 10000001;

-- Balance updates find room in their own page, so that no index is touched.
ALTER TABLE wallets_wallet SET (fillfactor = 60);
