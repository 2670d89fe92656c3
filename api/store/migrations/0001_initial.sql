-- {ID}: text compared by its bytes. {BLOB}: bytes. {UNLOGGED}: a table that may be lost in a crash.
-- Times are milliseconds since 1970; flags are 0 or 1; SHA-256 and other fixed bytes are {BLOB}.

CREATE TABLE settings (
    name {ID} PRIMARY KEY,
    value {BLOB} NOT NULL
);

CREATE TABLE jobs (
    id {ID} PRIMARY KEY,
    tenant {ID} NOT NULL,
    owner {ID} NOT NULL,
    batch {ID},
    batch_line BIGINT,
    status {ID} NOT NULL,
    priority BIGINT NOT NULL,
    model {ID},
    batch_key {ID} NOT NULL,
    prompt TEXT NOT NULL,
    input TEXT NOT NULL,
    given TEXT NOT NULL,
    expansion TEXT,
    body_sha256 {BLOB},
    webhook TEXT,
    created BIGINT NOT NULL,
    started BIGINT,
    finished BIGINT,
    progress DOUBLE PRECISION NOT NULL,
    step BIGINT NOT NULL,
    steps BIGINT NOT NULL,
    eta_seconds DOUBLE PRECISION,
    attempts BIGINT NOT NULL,
    cancel_requested BIGINT NOT NULL,
    error_code TEXT,
    error_message TEXT,
    worker TEXT,
    lease_token {ID},
    lease_until BIGINT,
    event_number BIGINT NOT NULL
);
CREATE INDEX jobs_queue ON jobs (status, priority, id);
CREATE INDEX jobs_tenant ON jobs (tenant, id);
CREATE INDEX jobs_batch ON jobs (batch, batch_line);
CREATE INDEX jobs_body ON jobs (owner, body_sha256);
CREATE INDEX jobs_finished ON jobs (finished);

CREATE TABLE job_people (
    job {ID} NOT NULL,
    person {ID} NOT NULL,
    PRIMARY KEY (job, person)
);
CREATE INDEX job_people_person ON job_people (person);

CREATE TABLE events (
    job {ID} NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    kind {ID} NOT NULL,
    data TEXT,
    PRIMARY KEY (job, number)
);

-- The latest preview of each picture that is being drawn, for those who watch on another machine.
CREATE {UNLOGGED} TABLE previews (
    job {ID} NOT NULL,
    picture BIGINT NOT NULL,
    step BIGINT NOT NULL,
    jpeg {BLOB} NOT NULL,
    PRIMARY KEY (job, picture)
);

CREATE TABLE images (
    id {ID} PRIMARY KEY,
    tenant {ID} NOT NULL,
    job {ID} NOT NULL,
    picture BIGINT NOT NULL,
    seed BIGINT NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    format {ID} NOT NULL,
    bytes BIGINT NOT NULL,
    sha256 {BLOB} NOT NULL,
    blob_key {ID} NOT NULL,
    thumb_key {ID} NOT NULL,
    likeness TEXT NOT NULL,
    prompt TEXT NOT NULL,
    people TEXT NOT NULL,
    favourite BIGINT NOT NULL,
    created BIGINT NOT NULL,
    UNIQUE (job, picture)
);
CREATE INDEX images_tenant ON images (tenant, id);

CREATE TABLE image_people (
    image {ID} NOT NULL,
    person {ID} NOT NULL,
    PRIMARY KEY (image, person)
);
CREATE INDEX image_people_person ON image_people (person);

-- A deleted person keeps this row as a tombstone: everything but id, tenant and times is gone.
CREATE TABLE people (
    id {ID} PRIMARY KEY,
    tenant {ID} NOT NULL,
    created BIGINT NOT NULL,
    deleted BIGINT,
    one_shot BIGINT NOT NULL,
    keep_photos BIGINT NOT NULL,
    encoder TEXT,
    wrapped_key {BLOB},
    sealed_name {BLOB},
    sealed_consent {BLOB}
);
CREATE INDEX people_tenant ON people (tenant, id);

CREATE TABLE photos (
    person {ID} NOT NULL,
    photo BIGINT NOT NULL,
    usable BIGINT NOT NULL,
    problems TEXT NOT NULL,
    sealed_face {BLOB},
    crops_key {ID},
    photo_key {ID},
    PRIMARY KEY (person, photo)
);

-- Pictures handed in to be changed, and masks: sealed, each with a key of its own.
CREATE TABLE uploads (
    id {ID} PRIMARY KEY,
    tenant {ID} NOT NULL,
    created BIGINT NOT NULL,
    wrapped_key {BLOB} NOT NULL,
    blob_key {ID} NOT NULL
);

CREATE TABLE batches (
    id {ID} PRIMARY KEY,
    tenant {ID} NOT NULL,
    name TEXT,
    created BIGINT NOT NULL,
    cancel_requested BIGINT NOT NULL
);
CREATE INDEX batches_tenant ON batches (tenant, id);

CREATE TABLE batch_lines (
    batch {ID} NOT NULL,
    line BIGINT NOT NULL,
    job {ID},
    error_code TEXT,
    error_message TEXT,
    PRIMARY KEY (batch, line)
);

CREATE TABLE api_keys (
    id {ID} PRIMARY KEY,
    tenant {ID} NOT NULL,
    name TEXT NOT NULL,
    prefix {ID} NOT NULL,
    sha256 {BLOB} NOT NULL,
    created BIGINT NOT NULL,
    used BIGINT,
    revoked BIGINT
);
CREATE INDEX api_keys_prefix ON api_keys (prefix);

-- object is none while the first request is still being worked on.
CREATE TABLE idempotency (
    tenant {ID} NOT NULL,
    name {ID} NOT NULL,
    body_sha256 {BLOB} NOT NULL,
    object {ID},
    created BIGINT NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE webhooks (
    id {ID} PRIMARY KEY,
    tenant {ID} NOT NULL,
    job {ID} NOT NULL,
    url TEXT NOT NULL,
    created BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    due BIGINT NOT NULL
);
CREATE INDEX webhooks_due ON webhooks (due);

-- Bytes whose rows are gone already, to be taken away.
CREATE TABLE doomed_blobs (
    blob_key {ID} PRIMARY KEY,
    since BIGINT NOT NULL
);
