/**
 * What the labels in the catalog do not say about functions that come with PostgreSQL or its extensions.
 * Everything else goes by its label: VOLATILE runs on the primary, STABLE and IMMUTABLE are trusted.
 */

/** Labelled volatile in pg_catalog because their value changes, but harmless on a standby: nothing outlives the call. */
export const HARMLESS: ReadonlySet<string> = new Set(
  [
    // chance, the clock, waiting
    'random random_normal array_shuffle array_sample gen_random_uuid uuidv4 uuidv7',
    'clock_timestamp timeofday current_query pg_sleep pg_sleep_for pg_sleep_until',
    // where recovery is: only a standby has an answer of interest
    'pg_is_in_recovery pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp',
    'pg_is_wal_replay_paused pg_get_wal_replay_pause_state',
    // sizes and shapes of relations, which a physical standby shares
    'pg_relation_size pg_table_size pg_indexes_size pg_total_relation_size pg_database_size pg_tablespace_size',
    'pg_partition_tree pg_partition_ancestors pg_collation_actual_version',
  ].flatMap(words),
)

/** Labelled STABLE, yet not for a standby, whatever schema they are found in. */
const PRIMARY_ONLY: ReadonlySet<string> = new Set(
  [
    // fail during recovery
    'txid_current pg_current_xact_id pg_walfile_name pg_walfile_name_offset pg_replication_origin_oid',
    // a standby's snapshot does not list the transactions in progress, and no transaction there has an id
    'pg_current_snapshot txid_current_snapshot pg_current_xact_id_if_assigned txid_current_if_assigned',
    // of use only with pg_cancel_backend and the like, on the same server
    'pg_backend_pid',
    // run SQL, or read relations, that the parser does not see
    'table_to_xml table_to_xmlschema table_to_xml_and_xmlschema schema_to_xml schema_to_xmlschema schema_to_xml_and_xmlschema',
    'database_to_xml database_to_xmlschema database_to_xml_and_xmlschema',
    'crosstab crosstab2 crosstab3 crosstab4 crosstab_hash connectby xpath_table',
  ].flatMap(words),
)

/** Also everything that reports the activity of the one server it runs on: `pg_stat_activity` and its kin call these. */
export const isPrimaryOnly = (name: string): boolean => PRIMARY_ONLY.has(name) || name.startsWith('pg_stat_')

/** Leave state behind on the connection, or belong to such state. `set_config` does when it is not local. */
export const TYING: ReadonlySet<string> = new Set(
  [
    'pg_advisory_lock pg_advisory_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared',
    'pg_advisory_unlock pg_advisory_unlock_shared pg_advisory_unlock_all',
    'setseed set_limit dblink_connect dblink_connect_u dblink_disconnect',
    'pg_replication_origin_session_setup pg_replication_origin_session_reset pg_backup_start pg_backup_stop',
  ].flatMap(words),
)

/**
 * Of what comes with PostgreSQL and is not labelled IMMUTABLE: neither reads nor writes a table (`table-scopes.ts`). Their value
 * depends on the clock, chance, settings, the connection, or on schema objects only. Those that make domain values of a type they find by
 * themselves (`json_populate_record`), or tell of sizes, transactions or statistics, are left out on purpose.
 */
export const SCOPE_HARMLESS: ReadonlySet<string> = new Set(
  [
    // chance, the clock, waiting
    'random random_normal array_shuffle array_sample gen_random_uuid uuidv4 uuidv7 now transaction_timestamp statement_timestamp',
    'clock_timestamp timeofday pg_sleep pg_sleep_for pg_sleep_until',
    // the connection and its settings; locks, which show only in a system view
    'current_database current_schema current_schemas current_setting set_config current_user session_user system_user current_query',
    'version pg_client_encoding getdatabaseencoding inet_client_addr inet_client_port inet_server_addr inet_server_port',
    'pg_is_in_recovery pg_postmaster_start_time pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_xact_lock',
    'pg_try_advisory_xact_lock_shared',
    // dates and numbers
    'date date_add date_subtract date_part date_trunc extract generate_series in_range make_timestamptz overlaps time timestamp',
    'timestamptz timetz timezone to_char to_date to_number to_timestamp numeric money',
    // text, arrays, enumerations
    'anytextcat textanycat array_to_string concat concat_ws convert convert_from convert_to format length quote_literal quote_nullable',
    'enum_first enum_last enum_range pg_typeof xml xml_is_well_formed',
    // JSON
    'array_to_json row_to_json to_json to_jsonb json_agg json_agg_strict jsonb_agg jsonb_agg_strict json_build_array json_build_object',
    'jsonb_build_array jsonb_build_object json_object_agg json_object_agg_strict json_object_agg_unique json_object_agg_unique_strict',
    'jsonb_object_agg jsonb_object_agg_strict jsonb_object_agg_unique jsonb_object_agg_unique_strict json_to_record',
    'json_to_recordset jsonb_to_record jsonb_to_recordset jsonb_path_exists_tz jsonb_path_match_tz jsonb_path_query_tz',
    'jsonb_path_query_array_tz jsonb_path_query_first_tz',
    // text search
    'plainto_tsquery phraseto_tsquery websearch_to_tsquery to_tsquery to_tsvector json_to_tsvector jsonb_to_tsvector ts_headline',
    'ts_match_tq ts_match_tt',
  ].flatMap(words),
)

/** These change or tell the state of sequences: harmless in a write, since no read that reads a sequence has scopes. */
export const SCOPE_WRITING: ReadonlySet<string> = new Set(words('nextval currval lastval'))

function words(line: string): string[] {
  return line.split(' ')
}
