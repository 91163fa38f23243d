-- What was found stays as it was found, under the version of the rule that found it, and what was said stays said.
CREATE TRIGGER alert_keeps_what_was_found
    BEFORE UPDATE ON alerts_alert
    FOR EACH ROW
    WHEN ((OLD.id, OLD.owner_id, OLD.rule_id, OLD.code, OLD.severity, OLD.fingerprint, OLD.facts, OLD.raised_at)
          IS DISTINCT FROM
          (NEW.id, NEW.owner_id, NEW.rule_id, NEW.code, NEW.severity, NEW.fingerprint, NEW.facts, NEW.raised_at)
          -- Once escalated, for ever: reopening does not give it back to whoever found it too big to decide alone.
          OR (OLD.escalated_by_id IS NOT NULL AND OLD.escalated_by_id IS DISTINCT FROM NEW.escalated_by_id))
    EXECUTE FUNCTION desk_refuse_change();
CREATE TRIGGER alert_is_never_deleted
    BEFORE DELETE OR TRUNCATE ON alerts_alert
    FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();
CREATE TRIGGER alertnote_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON alerts_alertnote
    FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();
CREATE TRIGGER alertrule_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON alerts_alertrule
    FOR EACH STATEMENT EXECUTE FUNCTION desk_refuse_change();
