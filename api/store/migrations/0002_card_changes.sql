-- What a person says of their identity card, sealed like their name.
ALTER TABLE people ADD COLUMN sealed_card {BLOB};
