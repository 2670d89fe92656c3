-- Which safety rule refused a job or a line of a batch, where it failed with the code "refused".
ALTER TABLE jobs ADD COLUMN error_rule TEXT;
ALTER TABLE batch_lines ADD COLUMN error_rule TEXT;
