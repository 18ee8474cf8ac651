//! Carry a body out: read it, judge its recipients, write its messages, and have shards store them.
//!
//! One thread beside the control thread reads and writes; messages go from it to shards as they are
//! written, no more of them at a time than there is room for. Invariant: each recipient has one
//! fate, whatever happens.

use std::sync::Arc;

use aws_lc_rs::rand;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{JoinSet, spawn_blocking};

use crate::base::limits::{
    INJECT_FUEL_ALL, INJECT_MESSAGES_MAX, INJECT_TOGETHER_MAX, INJECT_VALUES_MAX, RECIPIENTS_MAX,
};
use crate::base::time::WallTime;
use crate::control::commands::Shards;
use crate::control::inject::answer::{Outcome, Told};
use crate::control::inject::compose::{Audience, Composer, Fuel, Stamp};
use crate::control::inject::request::{Body, Letter, Named, Request, Wrong};
use crate::control::inject::weight::weight;
use crate::control::inject::{Injections, units};
use crate::mail::address::ForwardPath;
use crate::mail::envelope::{BodyType, Envelope, Notify, Recipient, TlsWish};
use crate::mail::handling::TenantName;
use crate::mail::status::Reply;
use crate::shard::commands::{Answer, Command, Injection};
use crate::shard::injecting::{check_content, refusal_of_recipient};
use crate::shard::settings::Settings;
use crate::smtp::answer as smtp;

/// What a body is worked on with.
pub(super) struct Work {
    pub(super) shards: Shards,
    pub(super) injections: Injections,
    pub(super) settings: Arc<Settings>,
    pub(super) tenant: Option<TenantName>,
    pub(super) now: WallTime,
}

/// A message on its way to a shard, and whose it is: places in its request's list.
struct Sent {
    request: usize,
    places: Vec<usize>,
    injection: Injection,
    /// Its room in memory.
    room: OwnedSemaphorePermit,
}

/// What became of recipients of a request.
struct Fate {
    request: usize,
    places: Vec<usize>,
    became: Result<String, Reply>,
}

/// What is known of the requests of a body.
struct Read {
    /// Of each, its recipients as they were written; or why it is refused whole.
    requests: Vec<Result<Vec<String>, Wrong>>,
    is_batch: bool,
    /// What became of recipients before any shard was asked.
    fates: Vec<Fate>,
}

impl Work {
    /// What came of each request, and whether they are a batch.
    pub(super) async fn run(self, body: Vec<u8>) -> Result<(Vec<Outcome>, bool), Wrong> {
        let (sender, mut messages) = mpsc::channel(INJECT_TOGETHER_MAX);
        let work = Arc::new(self);
        let (writer, runtime) = (work.clone(), Handle::current());
        let reading = spawn_blocking(move || writer.write(&body, &sender, &runtime));
        let (mut under_way, mut fates) = (JoinSet::new(), Vec::new());
        while let Some(message) = messages.recv().await {
            if under_way.len() >= INJECT_TOGETHER_MAX {
                fates.extend(under_way.join_next().await.and_then(Result::ok));
            }
            let work = work.clone();
            under_way.spawn(async move { work.store(message).await });
        }
        while let Some(done) = under_way.join_next().await {
            fates.extend(done.ok());
        }
        let read = reading.await.map_err(|error| {
            tracing::error!(%error, "mail over HTTP was not read");
            Wrong(500, "451 4.3.0 It came to nothing, try again later".to_owned())
        })?;
        read.map(|read| read.outcomes(fates))
    }

    /// Have a shard store a message.
    async fn store(&self, message: Sent) -> Fate {
        let Sent { request, places, injection, room } = message;
        let shard = self.injections.next(&self.shards);
        let answer = self.shards.ask(shard, Command::Inject(Box::new(injection))).await;
        drop(room);
        let became = match answer {
            Ok(Answer::Submitted(id)) => Ok(id.to_string()),
            Ok(Answer::Refused(reply)) => Err(reply),
            // It may be stored all the same, as when a client of SMTP loses its connection.
            Ok(_) | Err(_) => Err(smtp::Answer::NOT_STORED.into()),
        };
        Fate { request, places, became }
    }

    /// Read a body, and write its messages. Blocks.
    fn write(
        &self,
        body: &[u8],
        messages: &mpsc::Sender<Sent>,
        runtime: &Handle,
    ) -> Result<Read, Wrong> {
        let _room = self.room_for_values(body)?;
        let Body { requests, is_batch } = Body::parse(body)?;
        let mut read = Read { requests: Vec::new(), is_batch, fates: Vec::new() };
        let fuel = Fuel::new(INJECT_FUEL_ALL);
        for (number, request) in requests.into_iter().enumerate() {
            let (work, fates) = (self, Vec::new());
            let mut writer = Writer { work, messages, runtime, fuel: &fuel, number, fates };
            let written = writer.request(request);
            read.fates.append(&mut writer.fates);
            read.requests.push(written);
        }
        Ok(read)
    }

    /// Room for what a body becomes once it is read.
    fn room_for_values(&self, body: &[u8]) -> Result<OwnedSemaphorePermit, Wrong> {
        let weight = weight(body);
        if weight > INJECT_VALUES_MAX {
            return Err(Wrong(413, "too many values in a body: send several".to_owned()));
        }
        let room = self.injections.0.values.clone().try_acquire_many_owned(units(weight));
        room.map_err(|_| Wrong(503, "452 4.3.1 Too much at once, come again".to_owned()))
    }
}

/// Writes the messages of one request.
struct Writer<'w> {
    work: &'w Work,
    messages: &'w mpsc::Sender<Sent>,
    runtime: &'w Handle,
    fuel: &'w Fuel,
    number: usize,
    fates: Vec<Fate>,
}

impl Writer<'_> {
    /// Its recipients, as they were written.
    fn request(&mut self, request: Request) -> Result<Vec<String>, Wrong> {
        let names = self.work.settings.senders.fields();
        let letter = request.letter(self.work.tenant.as_ref(), names, self.work.now)?;
        let composer = Composer::new(&letter, self.fuel)?;
        let mut together: Vec<(usize, &Named)> = Vec::new();
        for (place, to) in letter.recipients.iter().enumerate() {
            let named = match &to.who {
                Ok(named) => named,
                Err(reply) => {
                    self.refuse(vec![place], reply.clone());
                    continue;
                }
            };
            if let Some(reply) = self.refusal(&letter, named) {
                self.refuse(vec![place], reply);
                continue;
            }
            match &to.substitutions {
                None => together.push((place, named)),
                Some(values) => {
                    let audience = Audience::Own(named, values);
                    self.send(&letter, &composer, audience, &[(place, named)]);
                }
            }
        }
        let most = RECIPIENTS_MAX;
        for some in together.chunks(most) {
            let audience = match some {
                [(_, only)] => Audience::One(only),
                _ => Audience::Several,
            };
            self.send(&letter, &composer, audience, some);
        }
        Ok(letter.recipients.into_iter().map(|to| to.written).collect())
    }

    fn refusal(&self, letter: &Letter, to: &Named) -> Option<Reply> {
        let tenant = letter.handling.tenant.as_ref();
        refusal_of_recipient(&self.work.settings, &to.mailbox, tenant, self.work.now)
    }

    fn refuse(&mut self, places: Vec<usize>, reply: Reply) {
        self.fates.push(Fate { request: self.number, places, became: Err(reply) });
    }

    /// Write a message, and send it to a shard.
    fn send(
        &mut self,
        letter: &Letter,
        composer: &Composer<'_>,
        audience: Audience<'_>,
        to: &[(usize, &Named)],
    ) {
        let places = to.iter().map(|(place, _)| *place).collect();
        let injection = match self.injection(letter, composer, audience, to) {
            Ok(injection) => injection,
            Err(reply) => return self.refuse(places, reply),
        };
        let octets = injection.content.len().min(INJECT_MESSAGES_MAX);
        let room = self.work.injections.0.messages.clone().acquire_many_owned(units(octets));
        let Ok(room) = self.runtime.block_on(room) else {
            return self.refuse(places, smtp::Answer::NO_ROOM.into());
        };
        let sent = Sent { request: self.number, places, injection, room };
        if let Err(unsent) = self.messages.blocking_send(sent) {
            self.refuse(unsent.0.places, smtp::Answer::NOT_STORED.into());
        }
    }

    fn injection(
        &self,
        letter: &Letter,
        composer: &Composer<'_>,
        audience: Audience<'_>,
        to: &[(usize, &Named)],
    ) -> Result<Injection, Reply> {
        let message_id = message_id(self.work.settings.hostname.as_str())?;
        let stamp = Stamp { message_id: &message_id, now: self.work.now };
        let content = composer.compose(audience, stamp)?;
        let facts = check_content(&self.work.settings, &content)?;
        let recipient = |named: &Named| Recipient {
            forward_path: ForwardPath::Mailbox(named.mailbox.clone()),
            notify: Notify::Default,
            original: None,
        };
        let reverse_path = letter.reverse_path.clone();
        let names = to.iter().map(|(_, named)| named.mailbox.as_str());
        let is_ascii = names.chain([reverse_path.as_str()]).all(str::is_ascii);
        let envelope = Envelope {
            reverse_path,
            body_type: match facts.body_eight_bit {
                true => BodyType::EightBitMime,
                false => BodyType::SevenBit,
            },
            smtp_utf8: !is_ascii || facts.header_eight_bit,
            tls: if facts.tls_waived { TlsWish::Waived } else { TlsWish::Unsaid },
            ret: None,
            envelope_id: None,
            handling: letter.handling.clone().boxed(),
            recipients: to.iter().map(|(_, named)| recipient(named)).collect(),
        };
        let has_eight_bit = facts.header_eight_bit || facts.body_eight_bit;
        Ok(Injection { envelope, content, has_eight_bit })
    }
}

/// A name that no other message has (RFC 5322 §3.6.4).
fn message_id(hostname: &str) -> Result<String, Reply> {
    let mut chance = [0u8; 16];
    rand::fill(&mut chance).map_err(|_| Reply::from(smtp::Answer::NOT_STORED))?;
    Ok(format!("{:032x}@{hostname}", u128::from_be_bytes(chance)))
}

/// A recipient as it was written, and what is known of its fate.
type Known = (String, Option<Told>);

impl Read {
    /// What came of each request, when all fates are known.
    fn outcomes(self, later: Vec<Fate>) -> (Vec<Outcome>, bool) {
        let requests = self.requests.into_iter();
        let mut requests: Vec<Result<Vec<Known>, Wrong>> = requests
            .map(|request| request.map(|all| all.into_iter().map(|to| (to, None)).collect()))
            .collect();
        for Fate { request, places, became } in self.fates.into_iter().chain(later) {
            let Some(Ok(recipients)) = requests.get_mut(request) else { continue };
            for place in places {
                let (to, told) = &mut recipients[place];
                *told = Some(match &became {
                    Ok(id) => Told::stored(to.clone(), id.clone()),
                    Err(reply) => Told::refused(to.clone(), reply),
                });
            }
        }
        let outcome = |request: Result<Vec<Known>, Wrong>| match request {
            Err(wrong) => Outcome::wrong(wrong),
            Ok(all) => Outcome::new(all.into_iter().map(told).collect()),
        };
        (requests.into_iter().map(outcome).collect(), self.is_batch)
    }
}

/// A fate that got lost was none.
fn told((to, told): Known) -> Told {
    told.unwrap_or_else(|| Told::refused(to, &smtp::Answer::NOT_STORED.into()))
}
