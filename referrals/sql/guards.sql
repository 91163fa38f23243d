-- Every closing deal of a live account leaves a row that says what became of it, in the transaction that makes the deal:
-- whoever looks for deals to reward reads what waits, and can neither miss one that commits late nor meet one twice.
--
-- Who had referred the client is written down there and then, three levels up. It costs the close four look-ups by
-- primary key and one row; it locks nobody's row and waits for nobody, however many clients one referrer has.
-- No sequential scans, as a session keeps the plans that it made while the tables were small.
CREATE FUNCTION referrals_note_deal() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    INSERT INTO referrals_accrual (deal_id, owner_id, chain, outcome, executed_at, accrued_at)
    SELECT NEW.id, NEW.owner_id,
           array_remove(ARRAY[client.referred_by_id, first.referred_by_id, second.referred_by_id], NULL),
           CASE WHEN client.referred_by_id IS NULL THEN 'UNREFERRED' ELSE 'PENDING' END,
           NEW.executed_at,
           CASE WHEN client.referred_by_id IS NULL THEN NEW.executed_at END
      FROM accounts_tradingaccount account
      JOIN accounts_user client ON client.id = account.owner_id
      LEFT JOIN accounts_user first ON first.id = client.referred_by_id
      LEFT JOIN accounts_user second ON second.id = first.referred_by_id
     WHERE account.id = NEW.account_id AND account.environment = 'LIVE';
    RETURN NULL;
END
$$;
CREATE TRIGGER deal_awaits_accrual
    AFTER INSERT ON trading_deal
    FOR EACH ROW WHEN (NEW.entry = 'OUT') EXECUTE FUNCTION referrals_note_deal();

-- Deals from before there were referrals: nobody is rewarded for them, and each has its row all the same.
INSERT INTO referrals_accrual (deal_id, owner_id, chain, outcome, executed_at, accrued_at)
SELECT d.id, d.owner_id, '{}', 'UNREFERRED', d.executed_at, d.executed_at
  FROM trading_deal d
  JOIN accounts_tradingaccount account ON account.id = d.account_id
 WHERE d.entry = 'OUT' AND account.environment = 'LIVE';

-- What was decided about a deal stays decided.
CREATE TRIGGER accrual_is_decided_once
    BEFORE UPDATE ON referrals_accrual
    FOR EACH ROW
    WHEN (OLD.outcome <> 'PENDING'
          OR (OLD.deal_id, OLD.owner_id, OLD.chain, OLD.executed_at)
             IS DISTINCT FROM (NEW.deal_id, NEW.owner_id, NEW.chain, NEW.executed_at))
    EXECUTE FUNCTION desk_refuse_change();
CREATE TRIGGER accrual_is_never_deleted
    BEFORE DELETE OR TRUNCATE ON referrals_accrual
    FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();

-- A version of a plan is what somebody was paid by: all it ever gets is an end.
CREATE TRIGGER commissionplan_keeps_its_terms
    BEFORE UPDATE ON referrals_commissionplan
    FOR EACH ROW
    WHEN (OLD.valid_to IS NOT NULL OR to_jsonb(OLD) - 'valid_to' <> to_jsonb(NEW) - 'valid_to')
    EXECUTE FUNCTION desk_refuse_change();
CREATE TRIGGER commissionplan_is_never_deleted
    BEFORE DELETE OR TRUNCATE ON referrals_commissionplan
    FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();
ALTER TABLE referrals_commissionplan
    ADD CONSTRAINT commissionplan_rates_in_range CHECK (0 <= ALL (rates) AND 1000000 >= ALL (rates)),
    ADD CONSTRAINT commissionplan_percentages_in_range
        CHECK (kind <> 'PERCENT_OF_COMMISSION' OR 100 >= ALL (rates));

-- A commission only moves on, and never becomes another.
CREATE TRIGGER commission_keeps_what_it_is
    BEFORE UPDATE ON referrals_commission
    FOR EACH ROW
    WHEN ((OLD.id, OLD.owner_id, OLD.client_id, OLD.deal_id, OLD.deposit_id, OLD.level, OLD.plan_id, OLD.volume,
           OLD.amount, OLD.currency, OLD.created_at)
          IS DISTINCT FROM
          (NEW.id, NEW.owner_id, NEW.client_id, NEW.deal_id, NEW.deposit_id, NEW.level, NEW.plan_id, NEW.volume,
           NEW.amount, NEW.currency, NEW.created_at)
          OR OLD.status || '>' || NEW.status
             NOT IN ('PENDING>APPROVED', 'PENDING>REVERSED', 'APPROVED>PAID', 'APPROVED>REVERSED', 'PAID>REVERSED'))
    EXECUTE FUNCTION desk_refuse_change();
CREATE TRIGGER commission_is_never_deleted
    BEFORE DELETE OR TRUNCATE ON referrals_commission
    FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();
CREATE TRIGGER debt_is_never_deleted
    BEFORE DELETE OR TRUNCATE ON referrals_debt
    FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();
CREATE TRIGGER debtsettlement_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON referrals_debtsettlement
    FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();
