-- Turns the table of events into one that is partitioned by tenant. What is there stays where it is, as the partition of
-- all tenants that have none of their own; nothing is copied. Writers wait while it runs, which takes a moment.
BEGIN;
LOCK TABLE humanuser_events IN ACCESS EXCLUSIVE MODE;
ALTER TABLE humanuser_events RENAME TO humanuser_events_of_others;
ALTER INDEX humanuser_events_pkey RENAME TO humanuser_events_of_others_pkey;
ALTER INDEX humanuser_events_position RENAME TO humanuser_events_of_others_position;
ALTER INDEX humanuser_events_command RENAME TO humanuser_events_of_others_command;
ALTER INDEX humanuser_events_type RENAME TO humanuser_events_of_others_type;
CREATE TABLE humanuser_events (LIKE humanuser_events_of_others) PARTITION BY LIST (instance_id);
ALTER TABLE humanuser_events ADD PRIMARY KEY (instance_id, aggregate_type, aggregate_id, sequence);
CREATE UNIQUE INDEX humanuser_events_position ON humanuser_events (position, instance_id);
CREATE UNIQUE INDEX humanuser_events_command ON humanuser_events (instance_id, command_id, in_tx_order);
CREATE INDEX humanuser_events_type ON humanuser_events (aggregate_type, position);
ALTER TABLE humanuser_events ATTACH PARTITION humanuser_events_of_others DEFAULT;
COMMIT;
-- For each new tenant that is to have a table of its own:
-- CREATE TABLE humanuser_events_acme PARTITION OF humanuser_events FOR VALUES IN ('acme');
