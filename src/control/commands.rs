//! Ask shards from the control thread, and wait for their answers no longer than a bound.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::base::ids::ShardId;
use crate::base::limits::ANSWER_WAIT_MAX;
use crate::shard::commands::{Answer, Command};
use crate::shard::mesh::{Crossing, Request};

/// The way to every shard's mailbox.
#[derive(Clone)]
pub struct Shards {
    count: u8,
    post: Arc<dyn Fn(ShardId, Crossing) + Send + Sync>,
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("count", &self.count).finish_non_exhaustive()
    }
}

/// A shard did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shard {0} does not answer")]
pub struct Silent(pub ShardId);

impl Shards {
    /// `count` shards, reached by `post`.
    pub fn new(count: u8, post: impl Fn(ShardId, Crossing) + Send + Sync + 'static) -> Self {
        Self { count, post: Arc::new(post) }
    }

    /// All of them.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = ShardId> + use<> {
        (0..self.count).map(ShardId)
    }

    /// Ask one shard.
    pub async fn ask(&self, shard: ShardId, command: Command) -> Result<Answer, Silent> {
        self.send(shard, command).wait().await
    }

    /// Ask all shards at once; their answers, in order.
    pub async fn ask_all(&self, command: &Command) -> Result<Vec<Answer>, Silent> {
        let asked: Vec<Asked> = self.ids().map(|id| self.send(id, command.clone())).collect();
        let mut answers = Vec::new();
        for asked in asked {
            answers.push(asked.wait().await?);
        }
        Ok(answers)
    }

    fn send(&self, shard: ShardId, command: Command) -> Asked {
        let (reply, answer) = oneshot::channel();
        let request = Request::new(command, move |answer| {
            // Whoever asked may have given up.
            let _ = reply.send(answer);
        });
        (self.post)(shard, Crossing::Request(request));
        Asked { shard, answer }
    }
}

/// A question under way.
struct Asked {
    shard: ShardId,
    answer: oneshot::Receiver<Answer>,
}

impl Asked {
    async fn wait(self) -> Result<Answer, Silent> {
        match timeout(ANSWER_WAIT_MAX, self.answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(Silent(self.shard)),
        }
    }
}
