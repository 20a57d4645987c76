// @generated automatically by Diesel CLI.

diesel::table! {
    /// Who changed what, written by triggers in the transaction of the change. Append-only, and chained by hashes
    audit_log (workspace_id, sequence) {
        /// CUID, made by the database
        id -> Text,
        /// Workspace of the row; empty for a row of no workspace. No foreign key: entries outlive their workspace
        workspace_id -> Text,
        /// Place in the workspace's chain, from 1, without gaps
        sequence -> Int8,
        /// When the change was committed, by the server's clock; rises with the sequence
        occurred_at -> Timestamptz,
        /// user, service, or system for a change without a verified context
        actor_kind -> Text,
        /// User id, service name, or database login
        actor_id -> Text,
        /// tenant, user or service: the scope that the actor came in by; none for system
        scope -> Text,
        /// What happened, such as member.add
        action -> Text,
        /// Table of the row
        table_name -> Text,
        /// Id of the row
        row_id -> Text,
        /// Changed columns, each with its old and new value; a secret column is named without values
        changes -> Jsonb,
        /// The server's number of the transaction
        transaction_id -> Int8,
        /// Hash of the entry before; 32 zero bytes in the first
        previous_hash -> Bytea,
        /// SHA-256 of all the other columns
        hash -> Bytea,
    }
}

diesel::table! {
    /// Which KPIs measure which goal
    goal_kpis (workspace_id, id) {
        /// CUID, unique within the workspace
        id -> Text,
        /// The workspace; by default the one of the context
        workspace_id -> Text,
        /// The goal
        goal_id -> Text,
        /// The KPI
        kpi_id -> Text,
        /// Share in the goal's progress relative to its other KPIs, 0 to 1000000; 0 leaves the KPI out
        weight -> Float8,
        /// Value from which progress counts, in the KPI's unit; 0 where null. Above the target for a KPI that should fall
        baseline -> Nullable<Float8>,
    }
}

diesel::table! {
    /// What a workspace wants to reach
    goals (workspace_id, id) {
        /// CUID, unique within the workspace
        id -> Text,
        /// The workspace; by default the one of the context
        workspace_id -> Text,
        /// Display name
        title -> Text,
        /// Free text
        description -> Nullable<Text>,
        /// When it is due
        target_date -> Nullable<Timestamptz>,
        /// active, completed or paused
        status -> Text,
        /// When the row was made; kept by a trigger
        created_at -> Timestamptz,
        /// When the row last changed; kept by a trigger
        updated_at -> Timestamptz,
        /// When the goal was deleted; it stays until a purge
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// What was done under which key, and the answer, so that asking again does nothing again
    idempotency_keys (workspace_id, actor_kind, actor_id, key) {
        /// The workspace; by default the one of the context
        workspace_id -> Text,
        /// user or service
        actor_kind -> Text,
        /// User id or service name, whose key it is
        actor_id -> Text,
        /// Role and membership id of the user who asked, or service. No other membership is given the answer
        membership -> Text,
        /// The key, 1 to 255 visible ASCII characters; unique for its actor in the workspace
        key -> Text,
        /// Name of the unit of work
        operation -> Text,
        /// SHA-256 of the request, if the caller bound the key to it
        fingerprint -> Nullable<Bytea>,
        /// The answer as JSON, at most 65536 bytes; null until the work is done, which no other transaction sees
        result -> Nullable<Text>,
        /// When the row was made; kept by a trigger
        created_at -> Timestamptz,
    }
}

diesel::table! {
    /// Connections of a workspace to outside services
    integrations (workspace_id, id) {
        /// CUID, unique within the workspace
        id -> Text,
        /// The workspace; by default the one of the context
        workspace_id -> Text,
        /// stripe, google_analytics or sheets
        provider -> Text,
        /// Whether it is synchronised
        is_active -> Bool,
        /// Sealed envelope: version, key id, nonce and ciphertext, in base64url without padding, separated by dots
        credentials -> Text,
        /// When it was last synchronised
        last_sync_at -> Nullable<Timestamptz>,
        /// pending, success or error
        sync_status -> Text,
        /// Why the last synchronisation failed
        error_message -> Nullable<Text>,
        /// When the row was made; kept by a trigger
        created_at -> Timestamptz,
        /// When the row last changed; kept by a trigger
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    /// Who was asked to join a workspace, as what; the tokens are elsewhere
    invitations (workspace_id, id) {
        /// CUID, unique within the workspace
        id -> Text,
        /// The workspace; by default the one of the context
        workspace_id -> Text,
        /// Address of whoever may accept, normalized as those of users
        email -> Text,
        /// owner, admin or member: what the invited becomes
        role -> Text,
        /// User who sent it last, and must still have the right to when it is accepted. No foreign key: it outlives the membership
        invited_by -> Text,
        /// When the row was made; kept by a trigger
        created_at -> Timestamptz,
        /// Until when it can be accepted
        expires_at -> Timestamptz,
        /// When it was last sent again, with a new token
        resent_at -> Nullable<Timestamptz>,
        /// When the workspace took it back
        revoked_at -> Nullable<Timestamptz>,
        /// When the invited declined
        declined_at -> Nullable<Timestamptz>,
        /// When the invited accepted
        accepted_at -> Nullable<Timestamptz>,
        /// Who accepted. No foreign key: it outlives the user
        accepted_by -> Nullable<Text>,
    }
}

diesel::table! {
    /// History of the KPIs
    kpi_data_points (workspace_id, kpi_id, timestamp, source) {
        /// When it was measured, to the millisecond; by default when it is recorded
        timestamp -> Timestamptz,
        /// Value, in the KPI's unit
        value -> Float8,
        /// The workspace; by default the one of the context
        workspace_id -> Text,
        /// The KPI measured
        kpi_id -> Text,
        /// Where it came from, such as manual, stripe or google_analytics; empty for none, null is stored so
        source -> Text,
    }
}

diesel::table! {
    /// From when on a KPI had its plain target, or counted towards a goal and how; kept by triggers
    kpi_history (workspace_id, id) {
        /// CUID, unique within the workspace
        id -> Text,
        /// The workspace
        workspace_id -> Text,
        /// The KPI
        kpi_id -> Text,
        /// The goal that it counts towards; null for its plain target
        goal_id -> Nullable<Text>,
        /// From when on
        changed_at -> Timestamptz,
        /// Without a goal: kpis.target_value
        target_value -> Nullable<Float8>,
        /// With a goal: its weight; null where the KPI was taken off the goal
        weight -> Nullable<Float8>,
        /// With a goal: its baseline
        baseline -> Nullable<Float8>,
    }
}

diesel::table! {
    /// Closed history of the KPIs, packed by sesari.pack_points; kpi_points shows its points one by one
    kpi_packed_points (workspace_id, kpi_id, starts_at) {
        /// When the first of the points was measured
        starts_at -> Timestamptz,
        /// When the last of the points was measured
        ends_at -> Timestamptz,
        /// How many points, from 8 to 1000
        points -> Int4,
        /// The workspace
        workspace_id -> Text,
        /// The KPI measured
        kpi_id -> Text,
        /// When each was measured, in milliseconds from starts_at, ascending
        point_offsets -> Array<Nullable<Int4>>,
        /// Its value, in the KPI's unit
        point_values -> Array<Nullable<Float8>>,
        /// Where it came from, empty for none; one entry where that is the same for all
        point_sources -> Array<Nullable<Text>>,
    }
}

diesel::table! {
    /// What the data points of a KPI come to in a day of the workspace; kept by a trigger
    kpi_rollups (workspace_id, kpi_id, day) {
        /// When the day starts
        day -> Timestamptz,
        /// When it ends; a point of that moment is not in it
        day_end -> Timestamptz,
        /// How many points, at least one
        points -> Int8,
        /// Their values added up one by one in the order of their key; null when one is 1e290 or larger
        sum -> Nullable<Float8>,
        /// The least value
        min -> Float8,
        /// The greatest value
        max -> Float8,
        /// The value of the first point in the order of their key
        first -> Float8,
        /// The value of the last point in the order of their key
        last -> Float8,
        /// The workspace
        workspace_id -> Text,
        /// The KPI measured
        kpi_id -> Text,
        /// Start, end, points, sum (NaN for null), min, max, first and last, eight bytes each in the binary format
        packed -> Bytea,
    }
}

diesel::table! {
    /// What KPIs are to reach from a day on; rows are added and never changed
    kpi_targets (workspace_id, kpi_id, recorded_at) {
        /// The workspace; by default the one of the context
        workspace_id -> Text,
        /// The KPI
        kpi_id -> Text,
        /// standing for a value that holds from a day on; month, quarter or year for one that each of these periods is to reach
        period -> Text,
        /// First day on which it holds, in the workspace's calendar: the first of a period
        effective_from -> Date,
        /// When it was set; kept by a trigger
        recorded_at -> Timestamptz,
        /// Value to reach, in the KPI's unit; null where no such target holds any more
        value -> Nullable<Float8>,
        /// Value from which it is to be reached, in the KPI's unit; above the value for a KPI that should fall
        baseline -> Nullable<Float8>,
    }
}

diesel::table! {
    /// What a workspace measures
    kpis (workspace_id, id) {
        /// CUID, unique within the workspace
        id -> Text,
        /// The workspace; by default the one of the context
        workspace_id -> Text,
        /// Display name
        name -> Text,
        /// Free text
        description -> Nullable<Text>,
        /// Value to reach, in the KPI's unit
        target_value -> Nullable<Float8>,
        /// Value of the newest data point, 0 before the first; kept by a trigger
        current_value -> Float8,
        /// Time of the newest data point, null before the first; kept by a trigger
        current_value_at -> Nullable<Timestamptz>,
        /// Unit of the values, such as $, % or users
        unit -> Nullable<Text>,
        /// Group, such as revenue, growth or engagement
        category -> Nullable<Text>,
        /// What the points of a period come to: last, sum or mean; the current value is the newest point under each
        aggregation -> Text,
        /// Whether the KPI is shown
        is_active -> Bool,
        /// When the row was made; kept by a trigger
        created_at -> Timestamptz,
        /// When the row last changed; kept by a trigger
        updated_at -> Timestamptz,
        /// When the KPI was deleted; its history stays until a purge
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// One subscription a user, global
    subscriptions (id) {
        /// CUID
        id -> Text,
        /// Who pays; unique
        user_id -> Text,
        /// As Stripe names it
        status -> Text,
        /// free, starter or pro
        plan_type -> Text,
        /// When the paid period ends
        current_period_end -> Nullable<Timestamptz>,
        /// Whether it ends then for good
        cancel_at_period_end -> Bool,
        /// When the newest billing event applied was made; an older one that arrives late is ignored
        last_event_at -> Timestamptz,
        /// Place of that event among those of its time, if the caller knew it
        last_event_sequence -> Nullable<Int8>,
        /// When the row was made; kept by a trigger
        created_at -> Timestamptz,
        /// When the row last changed; kept by a trigger
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    /// People who sign in. Global: a user may belong to many workspaces
    users (id) {
        /// CUID
        id -> Text,
        /// E-mail address in lower case and NFKC, its domain in ASCII (IDNA); unique
        email -> Text,
        /// Display name
        name -> Nullable<Text>,
        /// https address of a picture
        image -> Nullable<Text>,
        /// Sign-in provider
        provider -> Text,
        /// The user's id at the provider, 1 to 255 visible ASCII characters
        provider_id -> Text,
        /// When the row was made; kept by a trigger
        created_at -> Timestamptz,
        /// When the row last changed; kept by a trigger
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    /// Memberships: which user is in which workspace, as what
    workspace_users (workspace_id, id) {
        /// CUID, unique within the workspace
        id -> Text,
        /// The member
        user_id -> Text,
        /// The workspace
        workspace_id -> Text,
        /// owner, admin or member
        role -> Text,
        /// When the user joined; kept by a trigger
        joined_at -> Timestamptz,
    }
}

diesel::table! {
    /// The tenants
    workspaces (id) {
        /// CUID
        id -> Text,
        /// Display name
        name -> Text,
        /// Name in addresses; unique among all workspaces
        slug -> Text,
        /// Name in the IANA time zone database: whose days the workspace's rollups are of, and its series by default
        time_zone -> Text,
        /// When the row was made; kept by a trigger
        created_at -> Timestamptz,
        /// When the row last changed; kept by a trigger
        updated_at -> Timestamptz,
    }
}

diesel::joinable!(goals -> workspaces (workspace_id));
diesel::joinable!(idempotency_keys -> workspaces (workspace_id));
diesel::joinable!(integrations -> workspaces (workspace_id));
diesel::joinable!(invitations -> workspaces (workspace_id));
diesel::joinable!(kpis -> workspaces (workspace_id));
diesel::joinable!(subscriptions -> users (user_id));
diesel::joinable!(workspace_users -> workspaces (workspace_id));

diesel::allow_tables_to_appear_in_same_query!(
    audit_log,
    goal_kpis,
    goals,
    idempotency_keys,
    integrations,
    invitations,
    kpi_data_points,
    kpi_history,
    kpi_packed_points,
    kpi_rollups,
    kpi_targets,
    kpis,
    subscriptions,
    users,
    workspace_users,
    workspaces,
);
