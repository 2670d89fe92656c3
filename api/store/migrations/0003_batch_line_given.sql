-- What a line that could not be used said, to be shown with its result.
ALTER TABLE batch_lines ADD COLUMN given TEXT;
