//! Take in what recovery finds, while the log is in use already.
//!
//! Invariant: nothing is moved and no segment removed before all is known of what earlier runs
//! left; a message is handed over only when every later record that speaks of it was read.

use crate::spool::log::Log;
use crate::spool::recovery::{Damage, Progress, RecoverError, RecoveredMessage, Recovery};

impl Log {
    /// Let `recovery`, which began together with this log, go on for about `budget` records. Each
    /// message that it finds is live from now on, and goes to `found`; an error there is a record
    /// of which the envelope cannot be understood. After an error nothing more comes.
    pub fn recover(
        &mut self,
        recovery: &mut Recovery,
        budget: usize,
        mut found: impl FnMut(Result<RecoveredMessage, Damage>),
    ) -> Result<Progress, RecoverError> {
        let directory = self.directory;
        let progress = recovery.go_on(budget, &mut self.live, |one, segments| {
            found(one.decode(directory, segments));
        })?;
        for (number, file) in recovery.take_files() {
            self.space.adopt(number, file);
        }
        if progress == Progress::Over {
            self.is_recovering = false;
            self.ask_moves();
        }
        Ok(progress)
    }
}
