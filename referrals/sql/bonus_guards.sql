-- The terms that a bonus was given on stay what they were, and so does who had one.
CREATE TRIGGER bonuspolicy_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON referrals_bonuspolicy
    FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();
CREATE TRIGGER bonusidentity_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON referrals_bonusidentity
    FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();

-- A bonus ends once, and changes in nothing else.
CREATE TRIGGER signupbonus_is_never_deleted
    BEFORE DELETE OR TRUNCATE ON referrals_signupbonus
    FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();
CREATE TRIGGER signupbonus_only_ends
    BEFORE UPDATE ON referrals_signupbonus
    FOR EACH ROW
    WHEN (OLD.status <> 'ACTIVE'
          OR to_jsonb(OLD) - ARRAY['status', 'removed', 'removal_id', 'ended_at']
             <> to_jsonb(NEW) - ARRAY['status', 'removed', 'removal_id', 'ended_at'])
    EXECUTE FUNCTION desk_refuse_change();
