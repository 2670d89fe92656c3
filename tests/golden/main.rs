//! Every number that has a Python counterpart, against fixtures made by it.
