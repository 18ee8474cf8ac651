//! Make what a session took in into a message for the spool.

use std::sync::Arc;

use crate::base::ids::MessageId;
use crate::base::limits::RECORD_CONTENT_MAX;
use crate::base::time::WallTime;
use crate::mail::envelope::TlsWish;
use crate::mail::status::Reply;
use crate::outcome::counters::Count;
use crate::policy::authenticity::{ContentReader, Facts};
use crate::policy::content::ContentScan;
use crate::policy::content::received::{Protocol, Received};
use crate::policy::links::letter::Linker;
use crate::policy::senders::Sender;
use crate::policy::senders::labels::{LabelError, LabelReader, Labels};
use crate::policy::signing::{Signing, Unsigned};
use crate::shard::commit::{Commit, From, InMemory};
use crate::shard::context::Context;
use crate::shard::ingress::Inbound;
use crate::shard::ingress::checking::Checking;
use crate::shard::ingress::filtering::Kept;
use crate::shard::ingress::gate::refusal_of_signers;
use crate::shard::ingress::screening::Screened;
use crate::shard::platform::Platform;
use crate::shard::refusals::{answer_to, refusal};
use crate::shard::verifying::Subject;
use crate::smtp::answer::Answer;
use crate::spool::log::LogError;
use crate::spool::stored::{NewMessage, Origin};

/// A message whose content is coming in.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) id: MessageId,
    pub(super) scan: ContentScan,
    /// What reads who sends it, where its header may say so, and who does.
    labels: Option<Box<LabelReader>>,
    pub(super) sender: Sender,
    /// What checks its form, where that is wanted.
    checking: Option<Box<Checking>>,
    /// Its last chunk, while its end waits for block lists.
    last: Option<Vec<u8>>,
    /// What puts links of ours into it, where that is wanted.
    pub(super) linker: Option<Box<Linker>>,
    care: Care,
    /// Fields of ours that go before it, and are signed with it.
    announced: Box<str>,
    /// Its content, where milters are to see it first: then nothing of it is stored yet.
    kept: Option<Kept>,
    /// Why a chunk was not taken.
    pub(super) refused: Option<LogError>,
}

/// What is done with content on its way.
#[derive(Debug)]
pub(super) enum Care {
    /// Nothing.
    None,
    /// It will be signed.
    Sign(Signing),
    /// It will be verified.
    Verify(ContentReader),
}

/// What is to be done before a message is stored.
pub(super) enum Work {
    /// Its signatures, if it is to have any.
    Sign(Unsigned),
    /// To verify it.
    Verify(Facts),
}

impl Receiving {
    /// Of a message of which nothing has come.
    fn new(
        id: MessageId,
        labels: Option<Box<LabelReader>>,
        checking: Option<Box<Checking>>,
        care: Care,
        kept: Option<Kept>,
    ) -> Self {
        let (care, kept) = match (care, kept) {
            // Signed is what milters make of it.
            (Care::Sign(signing), Some(kept)) => (Care::None, Some(kept.signed_by(signing))),
            as_they_are => as_they_are,
        };
        let scan = ContentScan::new();
        let sender = Sender::default();
        let announced = "".into();
        let (last, linker, refused) = (None, None, None);
        Self { id, scan, labels, sender, checking, last, linker, care, announced, kept, refused }
    }

    /// Take out what is not to be passed on, and read it.
    fn unlabel(&mut self, chunk: Vec<u8>) -> Vec<u8> {
        let Some(labels) = &mut self.labels else { return chunk };
        let passed = labels.push(chunk);
        if let (Care::Sign(signing), Some(tenant)) = (&mut self.care, labels.tenant()) {
            signing.set_tenant(tenant);
        }
        passed
    }

    /// The last of it has come: what was held back of it, and what its header said of who sends.
    fn end_labels(&mut self) -> Result<(Vec<u8>, Labels), LabelError> {
        let Some(labels) = self.labels.take() else { return Ok(Default::default()) };
        let (rest, said) = labels.end();
        said.map(|said| (rest, said))
    }

    /// What its header said of who sends, as far as that has come.
    pub(super) fn said(&self) -> Labels {
        self.labels.as_ref().and_then(|labels| labels.said()).cloned().unwrap_or_default()
    }

    /// See a chunk as it came.
    fn look_at(&mut self, chunk: &[u8]) {
        if let Some(checking) = &mut self.checking {
            checking.push(chunk);
        }
    }

    /// Take a chunk of content as it will leave, and pass on what can be.
    fn push(&mut self, chunk: Vec<u8>, commit: &mut Commit) {
        self.scan.push(&chunk);
        let passed = match &mut self.care {
            Care::None => chunk,
            Care::Sign(signing) => {
                signing.push(&chunk);
                chunk
            }
            Care::Verify(reader) => reader.push(chunk),
        };
        let last = self.pass_on(passed, commit);
        if !last.is_empty() {
            self.put(last, commit);
        }
    }

    /// The last of it, as it will leave: it waits for what is said to its end. What links were put
    /// into may be longer than a chunk.
    fn keep_last(&mut self, mut content: Vec<u8>, commit: &mut Commit) {
        while content.len() > RECORD_CONTENT_MAX {
            let behind = content.split_off(RECORD_CONTENT_MAX);
            self.push(content, commit);
            content = behind;
        }
        self.scan.push(&content);
        self.last = Some(content);
    }

    /// Whether all of it has come.
    pub(super) fn is_whole(&self) -> bool {
        self.last.is_some()
    }

    /// Take the last chunk, which was looked at; what is left to be stored with the message, and to
    /// be done before.
    fn end(&mut self, chunk: Vec<u8>, now: WallTime, commit: &mut Commit) -> (Vec<u8>, Work) {
        match std::mem::replace(&mut self.care, Care::None) {
            Care::None => (chunk, Work::Sign(Unsigned::default())),
            Care::Sign(signing) => {
                let mut signing = signing.of_tenant(self.sender.tenant.clone());
                signing.push(&chunk);
                (chunk, Work::Sign(signing.finish(now)))
            }
            Care::Verify(reader) => {
                let (rest, facts) = reader.end(chunk);
                (self.pass_on(rest, commit), Work::Verify(facts))
            }
        }
    }

    /// Pass content on in chunks as long as records may be; the last one comes back. What was held
    /// may make it longer.
    fn pass_on(&mut self, content: Vec<u8>, commit: &mut Commit) -> Vec<u8> {
        let mut rest = content;
        while rest.len() > RECORD_CONTENT_MAX {
            let behind = rest.split_off(RECORD_CONTENT_MAX);
            self.put(rest, commit);
            rest = behind;
        }
        rest
    }

    /// Put a piece into the spool, or with those that milters are to see first.
    fn put(&mut self, piece: Vec<u8>, commit: &mut Commit) {
        if self.refused.is_some() {
            return;
        }
        self.refused = match &mut self.kept {
            Some(kept) => kept.push(piece, commit).err(),
            None => commit.content(self.id, piece).err(),
        };
    }

    /// Octets of memory held, beside what the session and the log hold.
    pub(super) fn memory(&self) -> usize {
        let held = match &self.care {
            Care::None => 0,
            Care::Sign(signing) => signing.memory(),
            Care::Verify(reader) => reader.memory(),
        };
        let checking = self.checking.as_ref().map_or(0, |checking| checking.memory());
        let last = self.last.as_ref().map_or(0, Vec::capacity);
        let labels = self.labels.as_ref().map_or(0, |labels| labels.memory());
        let linker = self.linker.as_ref().map_or(0, |linker| linker.memory());
        held + labels + linker + checking + last + self.kept.as_ref().map_or(0, Kept::memory)
    }
}

impl Inbound {
    pub(super) fn on_content<P: Platform>(&mut self, commit: &mut Commit, cx: &mut Context<'_, P>) {
        if let Some(answer) = refusal(commit.admission()) {
            cx.common.counters.increment(Count::RefusedContent);
            return self.session.answer(answer, cx.mono());
        }
        let id = commit.next_id();
        let (labels, checking) = (self.label_reader(cx), self.checking(cx));
        let (mut care, kept) = (self.care(cx), self.kept(cx));
        let (announced, linker) = (self.announce(id, &mut care, cx), self.linker(id, cx));
        let receiving = Receiving::new(id, labels, checking, care, kept);
        self.receiving = Some(Receiving { announced, linker, ..receiving });
        self.session.answer(Answer::GO_ON, cx.mono());
    }

    /// A chunk is full, or memory is short: it goes to the spool ahead of its message.
    pub(super) fn on_chunk<P: Platform>(&mut self, commit: &mut Commit, cx: &mut Context<'_, P>) {
        let chunk = self.session.take_content();
        let receiving = self.receiving.as_mut().expect("content was answered with go on");
        let chunk = receiving.unlabel(chunk);
        receiving.look_at(&chunk);
        let chunk = self.link(chunk, commit, cx);
        let receiving = self.receiving.as_mut().expect("it is coming in");
        receiving.push(chunk, commit);
        if let Some(mut checking) = receiving.checking.take() {
            self.screen_urls(&mut checking, cx);
            self.receiving.as_mut().expect("it is coming in").checking = Some(checking);
        }
    }

    /// All of a message has come: what is wrong with it is said at once; else it waits for what
    /// block lists say of its URLs, and is stored.
    pub(super) fn on_end<P: Platform>(&mut self, commit: &mut Commit, cx: &mut Context<'_, P>) {
        let content = self.session.take_content();
        let receiving = self.receiving.as_mut().expect("content was answered with go on");
        let id = receiving.id;
        let mut content = receiving.unlabel(content);
        let sender = match receiving.end_labels() {
            Ok((mut rest, said)) => {
                content.append(&mut rest);
                self.sender(said, cx)
            }
            Err(error) => Err(error.reply().into()),
        };
        let receiving = self.receiving.as_mut().expect("it is coming in");
        receiving.look_at(&content);
        let ended = sender.and_then(|sender| {
            let content = self.end_links(content, &sender, cx)?;
            let receiving = self.receiving.as_mut().expect("it is coming in");
            receiving.sender = sender;
            receiving.keep_last(content, commit);
            Ok(())
        });
        if let Err(answer) = ended {
            self.drop_content(id, commit, cx);
            return self.session.answer(answer, cx.mono());
        }
        let receiving = self.receiving.as_mut().expect("it is coming in");
        if let Some(mut checking) = receiving.checking.take() {
            if let Err(answer) = self.check(id, &mut checking, cx) {
                self.drop_content(id, commit, cx);
                return self.session.answer(answer, cx.mono());
            }
            self.screen_urls(&mut checking, cx);
        }
        if let Some(answer) = self.judge_end(commit, cx) {
            self.session.answer(answer, cx.mono());
        }
    }

    /// Forget a message that is not taken.
    fn drop_content<P: Platform>(
        &mut self,
        id: MessageId,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        cx.common.counters.increment(Count::RefusedContent);
        self.receiving = None;
        commit.abandon(id);
    }

    /// What is said to the end of content; `None`: it waits for block lists, or for its commit.
    pub(super) fn judge_end<P: Platform>(
        &mut self,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) -> Option<Answer> {
        let id = self.receiving.as_ref()?.id;
        let screened = self.screened_end(cx);
        self.screening = matches!(screened, Screened::Wait);
        let answer = match screened {
            Screened::Wait => return None,
            Screened::Refuse(answer) => answer,
            Screened::Pass => match self.take_whole(commit, cx) {
                Ok(None) => {
                    self.committing = Some(id);
                    return None;
                }
                Ok(Some(in_memory)) => return Some(Answer::stored(InMemory::id(&in_memory))),
                Err(answer) => answer,
            },
        };
        self.drop_content(id, commit, cx);
        Some(answer)
    }

    /// Store a message all of which has come, or say why not.
    fn take_whole<P: Platform>(
        &mut self,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) -> Result<Option<InMemory>, Answer> {
        let mut receiving = self.receiving.take().expect("its end has come");
        let content = receiving.last.take().expect("its end has come");
        let (content, work) = receiving.end(content, cx.now.wall, commit);
        let checked = match receiving.refused {
            Some(error) => Err(answer_to(error)),
            None => receiving
                .scan
                .facts()
                .check(cx.settings.content_limits)
                .map_err(|reply: Reply| Answer::from(reply)),
        };
        checked.and_then(|()| match receiving.kept.take() {
            Some(kept) => self.submit(receiving, kept, (content, work), commit, cx),
            None => {
                let message = self.message(receiving, content, cx);
                self.store(message, work, commit, cx)
            }
        })
    }

    /// Drop what was taken of a message that will not be.
    pub(super) fn abandon(&mut self, commit: &mut Commit) {
        if let Some(receiving) = self.receiving.take() {
            commit.abandon(receiving.id);
        }
    }

    /// Store a message, once what is to be done before has been; as [`Commit::message`] answers.
    pub(super) fn store<P: Platform>(
        &mut self,
        message: NewMessage,
        work: Work,
        commit: &mut Commit,
        cx: &Context<'_, P>,
    ) -> Result<Option<InMemory>, Answer> {
        let connection = self.client.connection;
        let unsigned = match work {
            Work::Sign(unsigned) => unsigned,
            Work::Verify(facts) => match self.authenticity(&message, facts, cx) {
                Some((authenticity, mode)) => {
                    let subject = Subject::Unfiltered(message);
                    commit.verify(subject, authenticity, mode, connection, cx.mono());
                    return Ok(None);
                }
                None => Unsigned::default(),
            },
        };
        if let Some(answer) = refusal_of_signers(&unsigned, cx) {
            return Err(answer);
        }
        let stored = commit.sign_and_store(message, unsigned, From::Session(connection), cx);
        stored.map_err(|(error, _)| answer_to(error))
    }

    /// The message as it is stored, with our `Received:` before it.
    pub(super) fn message<P: Platform>(
        &mut self,
        receiving: Receiving,
        content: Vec<u8>,
        cx: &Context<'_, P>,
    ) -> NewMessage {
        let facts = receiving.scan.facts();
        let has_eight_bit = facts.header_eight_bit || facts.body_eight_bit;
        let (hold, by) = (self.session.hold(), self.session.by());
        let mut envelope = self.session.take_envelope();
        //= RFC 8689 §4.1
        //# … the TLS-Required header field … MUST be ignored
        // where REQUIRETLS is said as well.
        if facts.tls_waived && envelope.tls == TlsWish::Unsaid {
            envelope.tls = TlsWish::Waived;
        }
        self.handle(&mut envelope, (hold, by, receiving.sender), cx);
        if let Some(mailbox) = cx.settings.relay.postmaster_mailbox() {
            envelope.place_postmaster(mailbox);
        }
        self.place_returns(&mut envelope, cx);
        let mut prefix = Received {
            hello: self.session.hello(),
            client: self.client.peer.ip(),
            hostname: &cx.settings.hostname,
            protocol: Protocol {
                esmtp: self.session.is_esmtp(),
                utf8: envelope.smtp_utf8,
                tls: self.session.is_secured(),
                authenticated: self.session.identity().is_some(),
            },
            id: receiving.id,
            cipher: self.tls.as_ref().and_then(|tls| tls.facts()).map(|facts| facts.cipher),
            recipient: match envelope.recipients.as_slice() {
                [only] => Some(&only.forward_path),
                _ => None,
            },
            now: cx.now.wall,
        }
        .to_field();
        prefix.extend_from_slice(receiving.announced.as_bytes());
        let listener = self.client.listener;
        let durability = cx.settings.durability(listener, envelope.handling.as_deref());
        let origin = Origin::Client { peer: self.client.peer.ip(), listener, durability };
        NewMessage {
            id: receiving.id,
            envelope: Arc::new(envelope),
            received: cx.now.wall,
            intake: cx.mono().since(self.mail_at),
            prefix,
            content,
            has_eight_bit,
            is_quarantined: false,
            origin,
        }
    }
}
