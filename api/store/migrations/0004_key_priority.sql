-- The highest class that jobs of a key may have, as jobs.priority counts: 0 high, 1 normal, 2 low.
ALTER TABLE api_keys ADD COLUMN highest BIGINT NOT NULL DEFAULT 1;
