//! Take a message's content in, from DATA or from chunks, up to the question about its end.
//!
//! Invariant: every octet that a client announced as content is taken as content, refused or not
//! (RFC 3030 §2), so that none of it can be read as a command.

use crate::base::limits::{CONTENT_RESERVE_MAX, MESSAGE_OVERRUN, RECORD_CONTENT_MAX};
use crate::base::time::Monotonic;
use crate::mail::envelope::BodyType;
use crate::smtp::answer::Answer;
use crate::smtp::command::Chunk;
use crate::smtp::content::{Decoder, Fault, Framing, Progress, Rules};
use crate::smtp::deadline::ContentDeadline;
use crate::smtp::phase::Phase;
use crate::smtp::server::{Event, Options, Question, Session, Step};

/// Content under way.
#[derive(Debug)]
pub(super) struct Intake {
    decoder: Decoder,
    content: Vec<u8>,
    /// Octets to set aside when content begins to gather again.
    reserve: usize,
    /// Octets on the wire, stuffed dots and refused content included.
    received: u64,
    deadline: ContentDeadline,
}

impl Intake {
    fn new(framing: Framing, size: Option<u64>, options: &Options, now: Monotonic) -> Self {
        let rules = Rules {
            framing,
            line_endings: options.line_endings,
            line_max: options.text_line_max,
            bytes_max: options.message_bytes_max,
        };
        let size = usize::try_from(size.unwrap_or(0)).unwrap_or(usize::MAX);
        Self {
            decoder: Decoder::new(rules),
            content: Vec::new(),
            reserve: size.saturating_add(64).min(CONTENT_RESERVE_MAX),
            received: 0,
            deadline: ContentDeadline::new(&options.deadlines, now),
        }
    }

    pub(super) fn deadline(&self) -> Monotonic {
        self.deadline.at()
    }

    pub(super) fn whole_due(&self) -> Monotonic {
        self.deadline.whole()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.decoder.bytes()
    }

    pub(super) fn waiting(&self) -> usize {
        self.content.len()
    }

    pub(super) fn held(&self) -> usize {
        self.content.capacity()
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut content = std::mem::take(&mut self.content);
        // It would keep room that it does not need until it is on the disk, or as long as the
        // message is hot; and taken early, so would the next.
        if content.len() < content.capacity() / 4 * 3 {
            content.shrink_to_fit();
            self.reserve = content.len();
        }
        content
    }

    fn decode(&mut self, bytes: &[u8], options: &Options, now: Monotonic) -> (usize, Progress) {
        if self.content.capacity() == 0 && self.decoder.fault().is_none() {
            self.content.reserve(self.reserve.max(bytes.len()).min(RECORD_CONTENT_MAX));
        }
        let (used, progress) = self.decoder.decode(bytes, &mut self.content, RECORD_CONTENT_MAX);
        if progress == Progress::Full {
            self.reserve = RECORD_CONTENT_MAX;
        }
        // Lossless: a slice has at most isize::MAX octets.
        self.received += used as u64;
        self.deadline.progress(used as u64, &options.deadlines, now);
        (used, progress)
    }

    fn refusal(&self) -> Option<Answer> {
        self.decoder.fault().map(|fault| match fault {
            Fault::BareLineEnding => Answer::BARE_LINE_ENDING,
            Fault::Nul => Answer::NUL_IN_CONTENT,
            Fault::LineTooLong => Answer::TEXT_LINE_TOO_LONG,
            Fault::TooBig => Answer::MESSAGE_TOO_BIG,
        })
    }
}

impl Session {
    /// 354 was said: what follows is content.
    pub(super) fn begin_data(&mut self, now: Monotonic) {
        self.intake = Some(self.new_intake(Framing::Dot, now));
        self.step = Step::Data;
    }

    /// The first chunk of a transaction may come.
    pub(super) fn begin_chunks(&mut self, chunk: Chunk, now: Monotonic) {
        let binary = self.envelope().map(|envelope| envelope.body_type);
        let framing = match binary {
            Some(BodyType::BinaryMime) => Framing::Binary,
            Some(BodyType::SevenBit | BodyType::EightBitMime) | None => Framing::Chunked,
        };
        self.intake = Some(self.new_intake(framing, now));
        self.continue_chunks(chunk, now);
    }

    /// A chunk of a transaction that has room for it, if the rest will have too.
    pub(super) fn continue_chunks(&mut self, chunk: Chunk, now: Monotonic) {
        let intake = self.intake.as_mut().expect("content has begun");
        intake.deadline.resume(&self.options.deadlines, now);
        // Said early, so that what was taken can go early.
        if intake.bytes().saturating_add(chunk.bytes) > self.options.message_bytes_max {
            intake.decoder.refuse(Fault::TooBig);
        }
        let announced = intake.received.saturating_add(chunk.bytes);
        self.step = Step::Chunk(chunk);
        self.drop_refused_content();
        if announced > self.overrun() {
            self.close(&Answer::FAR_TOO_BIG);
        } else if chunk.bytes == 0 {
            self.end_chunk(chunk.last, now);
        }
    }

    /// A chunk that is refused: its octets go first.
    pub(super) fn skip_chunk(&mut self, chunk: Chunk, refusal: Answer, now: Monotonic) {
        if chunk.bytes > self.overrun() {
            return self.close(&Answer::FAR_TOO_BIG);
        }
        if chunk.bytes == 0 {
            return self.refuse(&refusal, now);
        }
        let deadline = ContentDeadline::new(&self.options.deadlines, now);
        self.step = Step::Skip { left: chunk.bytes, refusal, deadline };
    }

    pub(super) fn handle_data(&mut self, bytes: &[u8], now: Monotonic) -> usize {
        let intake = self.intake.as_mut().expect("content has begun");
        let (used, progress) = intake.decode(bytes, &self.options, now);
        let received = intake.received;
        self.drop_refused_content();
        match progress {
            Progress::End => self.end_content(now),
            Progress::Full => self.event = Some(Event::ContentFull),
            Progress::More if received > self.overrun() => self.close(&Answer::FAR_TOO_BIG),
            Progress::More => {}
        }
        used
    }

    pub(super) fn handle_chunk(&mut self, bytes: &[u8], now: Monotonic) -> usize {
        let Step::Chunk(chunk) = &mut self.step else { unreachable!("only inside a chunk") };
        let piece = up_to(bytes, chunk.bytes);
        let intake = self.intake.as_mut().expect("content has begun");
        let (used, progress) = intake.decode(piece, &self.options, now);
        chunk.bytes -= used as u64;
        let Chunk { bytes: left, last } = *chunk;
        self.drop_refused_content();
        if progress == Progress::Full {
            self.event = Some(Event::ContentFull);
        } else if left == 0 {
            self.end_chunk(last, now);
        }
        used
    }

    pub(super) fn handle_skip(&mut self, bytes: &[u8], now: Monotonic) -> usize {
        let Step::Skip { left, refusal, deadline } = &mut self.step else {
            unreachable!("only inside a refused chunk")
        };
        let octets = up_to(bytes, *left).len();
        *left -= octets as u64;
        deadline.progress(octets as u64, &self.options.deadlines, now);
        if *left == 0 {
            let refusal = refusal.clone();
            self.refuse(&refusal, now);
        }
        octets
    }

    fn new_intake(&self, framing: Framing, now: Monotonic) -> Intake {
        Intake::new(framing, self.size_declared(), &self.options, now)
    }

    /// Octets on the wire after which content is not worth reading to its end.
    fn overrun(&self) -> u64 {
        self.options.message_bytes_max.saturating_mul(MESSAGE_OVERRUN)
    }

    /// Let the transaction and what came of its content go as soon as it is refused.
    fn drop_refused_content(&mut self) {
        let intake = self.intake.as_mut().expect("content has begun");
        if self.transaction.is_some() && intake.decoder.fault().is_some() {
            intake.content = Vec::new();
            self.transaction = None;
            self.event = Some(Event::Aborted);
        }
    }

    fn end_chunk(&mut self, last: bool, now: Monotonic) {
        let intake = self.intake.as_mut().expect("content has begun");
        if last {
            intake.decoder.finish(&mut intake.content);
            self.drop_refused_content();
            self.end_content(now);
        } else if self.transaction.is_none() {
            self.refuse_content(now);
        } else {
            self.phase = Phase::Chunks;
            self.say(&Answer::CHUNK_OK);
            self.await_command(now);
        }
    }

    /// Content is complete: ask what to say, unless it is refused.
    fn end_content(&mut self, now: Monotonic) {
        let Some(transaction) = &mut self.transaction else {
            return self.refuse_content(now);
        };
        let intake = self.intake.as_ref().expect("content has begun");
        // As Postfix does: a client that sends 8-bit content without BODY=8BITMIME is taken at its
        // octets' word, and the next hop is told the truth.
        let envelope = &mut transaction.envelope;
        if intake.decoder.is_eight_bit() && envelope.body_type == BodyType::SevenBit {
            envelope.body_type = BodyType::EightBitMime;
        }
        self.step = Step::Asked(Question::End);
        self.event = Some(Event::End);
    }

    fn refuse_content(&mut self, now: Monotonic) {
        let refusal = self.intake.take().and_then(|intake| intake.refusal());
        self.phase = Phase::Ready;
        self.refuse(&refusal.expect("only a fault drops the transaction"), now);
    }
}

/// The first `limit` octets, or all.
fn up_to(bytes: &[u8], limit: u64) -> &[u8] {
    let octets = usize::try_from(limit).unwrap_or(usize::MAX).min(bytes.len());
    &bytes[..octets]
}
