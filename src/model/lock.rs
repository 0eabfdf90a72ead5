//! Locks whose data stay whole when a holder panics.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, also after a panic of a holder. For data that are valid between any two statements
/// that change them: each user of this sees to that.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_holder_does_not_end_the_use_of_a_lock() {
        let mutex = Mutex::new(1);
        let broken = std::panic::catch_unwind(|| {
            let _held = lock(&mutex);
            panic!("while the lock is held");
        });
        assert!(broken.is_err() && mutex.is_poisoned());
        *lock(&mutex) += 1;
        assert_eq!(*lock(&mutex), 2);
    }
}
