-- What was proposed is what is decided about: its terms never change, what is decided stays so, and none is deleted.
CREATE TRIGGER adjustment_is_never_deleted
    BEFORE DELETE OR TRUNCATE ON wallets_adjustment
    FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();
CREATE TRIGGER adjustment_keeps_its_terms
    BEFORE UPDATE ON wallets_adjustment
    FOR EACH ROW
    WHEN (OLD.status <> 'PROPOSED'
          OR (OLD.id, OLD.owner_id, OLD.wallet_id, OLD.direction, OLD.amount, OLD.currency, OLD.reason, OLD.reference,
              OLD.idempotency_digest, OLD.proposed_by_id, OLD.proposed_at)
             IS DISTINCT FROM
             (NEW.id, NEW.owner_id, NEW.wallet_id, NEW.direction, NEW.amount, NEW.currency, NEW.reason, NEW.reference,
              NEW.idempotency_digest, NEW.proposed_by_id, NEW.proposed_at))
    EXECUTE FUNCTION desk_refuse_change();
