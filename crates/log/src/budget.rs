//! How much of the disk the log may take (S26): bytes of all segments against a limit.
//!
//! Counted here rather than asked of the file system, so that it costs nothing per append and a
//! test decides it. Who sets the limit, and what the volume as a whole holds, is the binary's.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes used and allowed.
pub(crate) struct Budget {
    used: AtomicU64,
    limit: AtomicU64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { used: AtomicU64::new(0), limit: AtomicU64::new(u64::MAX) }
    }
}

impl Budget {
    /// Takes `bytes` if they fit; says whether.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let limit = self.limit();
        self.used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|used| *used <= limit)
            })
            .is_ok()
    }

    /// Counts `bytes` that are there, limit or not.
    pub(crate) fn add(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives `bytes` back.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    pub(crate) fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Relaxed);
    }
}
