//! The worker: takes jobs from the store, has them drawn, and puts the pictures back.
