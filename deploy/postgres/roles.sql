-- The users of the databases, each of whom may do what its process does and nothing else; run by psql as superuser
-- after create-databases.sql. Running it again changes passwords to those of the environment, and nothing more.
--
--   monitoring_owner    migrations: owns the tables of the pipeline and of the logs
--   monitoring_monitor  Dagster's runs, the dispatcher, the command line: reads the logs, writes the state
--   monitoring_writer   the scoring service: adds to the logs
--   monitoring_reader   the exporter, and whoever only looks: reads the state
--   dagster, mlflow     own the database of that name
--
-- What the first three may do with a table is granted where it is made: by `monitoring-pipeline migrate`, and for
-- logs when they get their first row.
\set ON_ERROR_STOP on
\getenv owner MONITORING_OWNER_PASSWORD
\getenv monitor MONITORING_MONITOR_PASSWORD
\getenv writer MONITORING_WRITER_PASSWORD
\getenv reader MONITORING_READER_PASSWORD
\getenv dagster DAGSTER_PASSWORD
\getenv mlflow MLFLOW_PASSWORD

SELECT format('CREATE ROLE %I LOGIN', name) FROM unnest(ARRAY['monitoring_owner', 'monitoring_monitor',
  'monitoring_writer', 'monitoring_reader', 'dagster', 'mlflow']) AS name
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE monitoring_owner PASSWORD :'owner';
ALTER ROLE monitoring_monitor PASSWORD :'monitor';
ALTER ROLE monitoring_writer PASSWORD :'writer';
ALTER ROLE monitoring_reader PASSWORD :'reader';
ALTER ROLE dagster PASSWORD :'dagster';
ALTER ROLE mlflow PASSWORD :'mlflow';

REVOKE ALL ON DATABASE dagster, mlflow, monitoring FROM PUBLIC;
ALTER DATABASE dagster OWNER TO dagster;
ALTER DATABASE mlflow OWNER TO mlflow;
ALTER DATABASE monitoring OWNER TO monitoring_owner;
GRANT CONNECT ON DATABASE monitoring TO monitoring_monitor, monitoring_writer, monitoring_reader;

-- Of an installation that had one user for everything, each table goes to the owner of its database.
\set hand_over 'SELECT format(''ALTER TABLE %s OWNER TO %I'', c.oid::regclass, pg_get_userbyid(d.datdba)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_database d ON d.datname = current_database() WHERE n.nspname IN (''public'', ''monitoring'') AND c.relkind IN (''r'', ''p'') AND c.relowner <> d.datdba'
\connect dagster
REVOKE ALL ON SCHEMA public FROM PUBLIC;
:hand_over \gexec
\connect mlflow
REVOKE ALL ON SCHEMA public FROM PUBLIC;
:hand_over \gexec
\connect monitoring
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA IF NOT EXISTS monitoring;
ALTER SCHEMA monitoring OWNER TO monitoring_owner;
:hand_over \gexec
SELECT format('ALTER FUNCTION %s OWNER TO monitoring_owner', oid::regprocedure) FROM pg_proc
  WHERE pronamespace = 'monitoring'::regnamespace AND proowner <> 'monitoring_owner'::regrole \gexec
