-- What a user pays for, as the billing provider reports it.
SET LOCAL ROLE sesari_owner;

CREATE TABLE public.subscriptions (
    id text NOT NULL DEFAULT sesari.new_id(),
    user_id text NOT NULL,
    status text NOT NULL,
    plan_type text NOT NULL,
    current_period_end timestamptz(3),
    cancel_at_period_end boolean NOT NULL DEFAULT false,
    last_event_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', statement_timestamp()),
    last_event_sequence bigint,
    created_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', statement_timestamp()),
    updated_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', statement_timestamp()),
    CONSTRAINT subscriptions_pkey PRIMARY KEY (id),
    CONSTRAINT subscriptions_user_id_key UNIQUE (user_id),
    CONSTRAINT subscriptions_user_id_fkey FOREIGN KEY (user_id)
        REFERENCES public.users (id) ON DELETE CASCADE,
    CONSTRAINT subscriptions_id_check CHECK (id ~ '^[a-z][a-z0-9]{1,31}$'),
    CONSTRAINT subscriptions_status_check CHECK (status IN (
        'active', 'canceled', 'past_due', 'trialing', 'incomplete', 'incomplete_expired', 'unpaid', 'paused'
    )),
    CONSTRAINT subscriptions_plan_type_check CHECK (plan_type IN ('free', 'starter', 'pro')),
    CONSTRAINT subscriptions_current_period_end_check CHECK (
        current_period_end >= '0001-01-01 00:00:00+00' AND current_period_end < '10000-01-01 00:00:00+00'),
    CONSTRAINT subscriptions_last_event_at_check CHECK (
        last_event_at >= '0001-01-01 00:00:00+00' AND last_event_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT subscriptions_created_at_check CHECK (
        created_at >= '0001-01-01 00:00:00+00' AND created_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT subscriptions_updated_at_check CHECK (
        updated_at >= '0001-01-01 00:00:00+00' AND updated_at < '10000-01-01 00:00:00+00')
);
COMMENT ON TABLE public.subscriptions IS 'One subscription a user, global';
COMMENT ON COLUMN public.subscriptions.id IS 'CUID';
COMMENT ON COLUMN public.subscriptions.user_id IS 'Who pays; unique';
COMMENT ON COLUMN public.subscriptions.status IS 'As Stripe names it';
COMMENT ON COLUMN public.subscriptions.plan_type IS 'free, starter or pro';
COMMENT ON COLUMN public.subscriptions.current_period_end IS 'When the paid period ends';
COMMENT ON COLUMN public.subscriptions.cancel_at_period_end IS 'Whether it ends then for good';
COMMENT ON COLUMN public.subscriptions.last_event_at IS
    'When the newest billing event applied was made; an older one that arrives late is ignored';
COMMENT ON COLUMN public.subscriptions.last_event_sequence IS
    'Place of that event among those of its time, if the caller knew it';
COMMENT ON COLUMN public.subscriptions.created_at IS 'When the row was made; kept by a trigger';
COMMENT ON COLUMN public.subscriptions.updated_at IS 'When the row last changed; kept by a trigger';
CREATE INDEX idx_subscriptions_created_at ON public.subscriptions (created_at, id);
CREATE TRIGGER subscriptions_times BEFORE INSERT OR UPDATE ON public.subscriptions
    FOR EACH ROW EXECUTE FUNCTION sesari.keep_times('subscriptions', 'created_at', 'updated_at');
CREATE TRIGGER subscriptions_key BEFORE UPDATE ON public.subscriptions
    FOR EACH ROW WHEN (OLD.id IS DISTINCT FROM NEW.id OR OLD.user_id IS DISTINCT FROM NEW.user_id)
    EXECUTE FUNCTION sesari.refuse_change('subscriptions', 'subscriptions_key_immutable');
CREATE TRIGGER subscriptions_audit AFTER INSERT OR UPDATE OR DELETE ON public.subscriptions
    FOR EACH ROW EXECUTE FUNCTION sesari.audit(
        'subscriptions', 'subscription.create', 'subscription.update', 'subscription.delete',
        'updated_at,last_event_at,last_event_sequence', '');

ALTER TABLE public.subscriptions ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.subscriptions FORCE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.subscriptions TO sesari_service;
CREATE POLICY subscriptions_service_select ON public.subscriptions FOR SELECT TO sesari_service
    USING ((SELECT sesari.current_service()) IS NOT NULL);
CREATE POLICY subscriptions_service_insert ON public.subscriptions FOR INSERT TO sesari_service
    WITH CHECK ((SELECT sesari.current_service()) IS NOT NULL);
CREATE POLICY subscriptions_service_update ON public.subscriptions FOR UPDATE TO sesari_service
    USING ((SELECT sesari.current_service()) IS NOT NULL)
    WITH CHECK ((SELECT sesari.current_service()) IS NOT NULL);
CREATE POLICY subscriptions_service_delete ON public.subscriptions FOR DELETE TO sesari_service
    USING ((SELECT sesari.current_service()) IS NOT NULL);
CREATE POLICY subscriptions_owner_select ON public.subscriptions FOR SELECT TO sesari_owner USING (true);

CREATE FUNCTION sesari.my_subscription() RETURNS SETOF public.subscriptions
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    me text := sesari.signed_in_user_id();
BEGIN
    RETURN QUERY SELECT s.* FROM public.subscriptions AS s WHERE s.user_id = me;
END
$$;
COMMENT ON FUNCTION sesari.my_subscription IS
    'The subscription of the signed-in user, while no workspace is chosen; no row for anybody else';
GRANT EXECUTE ON FUNCTION sesari.my_subscription TO sesari_tenant;


-- The plans of functions are estimated from these, and a server prints plans to whoever asks it to.
SELECT sesari.forget_statistics('public.subscriptions');

RESET ROLE;
