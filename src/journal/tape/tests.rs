//! The tape on disk: what a run leaves, and what the next one finds.
