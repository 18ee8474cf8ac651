//! One SMTP session of the source: transactions out, replies in, and what became of each message.
//!
//! In: jobs. Out: settlements. Invariant: a recipient is accepted only by 250 after the content,
//! and a job given to `submit` or `transact` is either settled or handed back by `abandon`.

mod opening;

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::time::Instant;

use tokio::io::AsyncWriteExt;

use super::Run;
use super::phases::Phase;
use super::plan::Job;
use super::replies::Replies;
use crate::tls::Stream;
use opening::Offers;

/// A job whose commands are under way.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) job: Job,
    /// Whether all of its content was handed to the kernel.
    pub(crate) content_sent: bool,
    written: Instant,
    reset: bool,
}

/// What became of a job; recipients in neither set may be tried again.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) job: Job,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    /// Whether the session can take another transaction.
    pub(crate) usable: bool,
}

/// An open session.
pub(crate) struct Connection<'a> {
    run: &'a Run,
    stream: Stream,
    replies: Replies,
    offers: Offers,
    output: Vec<u8>,
    pending: VecDeque<Pending>,
    needs_reset: bool,
}

impl<'a> Connection<'a> {
    /// Whether whole transactions are written at once, so that several may be under way.
    pub(crate) fn sends_ahead(&self) -> bool {
        let options = &self.run.options;
        options.chunking && options.pipelining && self.offers.chunking && self.offers.pipelining
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// The jobs of a session that broke; the session is of no more use.
    pub(crate) fn abandon(&mut self) -> impl Iterator<Item = Pending> + use<> {
        std::mem::take(&mut self.pending).into_iter()
    }

    /// Writes MAIL, every RCPT, BDAT and the content at once.
    pub(crate) async fn submit(&mut self, job: Job) -> io::Result<()> {
        let reset = std::mem::take(&mut self.needs_reset);
        let size = self.run.size_of(job.number);
        let mut head = std::mem::take(&mut self.run.scratch.borrow_mut().head);
        let body = self.head_into(&mut head, &job, size);
        let run = self.run;
        let filler = run.texts.plain(body);
        let length = head.len() + filler.len() + 2;
        self.output.clear();
        if reset {
            self.output.extend_from_slice(b"RSET\r\n");
        }
        self.put_mail(length);
        self.put_recipients(&job);
        write!(self.output, "BDAT {length} LAST\r\n")?;
        self.output.extend_from_slice(&head);
        run.scratch.borrow_mut().head = head;
        self.pending.push_back(Pending {
            job,
            content_sent: false,
            written: Instant::now(),
            reset,
        });
        write_all(&mut self.stream, [&self.output, filler, b"\r\n"]).await?;
        self.pending.back_mut().expect("pushed above").content_sent = true;
        Ok(())
    }

    /// Reads the replies to the oldest submitted transaction.
    pub(crate) async fn collect(&mut self) -> io::Result<Settlement> {
        let oldest = self.pending.front().expect("collect follows submit");
        let (written, reset, wanted) = (oldest.written, oldest.reset, oldest.job.wanted);
        if reset && self.reply().await? == 421 {
            return Ok(self.settle(Phase::Mail, 421, 0, 0));
        }
        let mail = self.reply().await?;
        self.took(Phase::Mail, written);
        if mail == 421 {
            return Ok(self.settle(Phase::Mail, mail, 0, 0));
        }
        let mut rcpt = RcptReplies::default();
        for place in places(wanted) {
            let code = self.reply().await?;
            rcpt.note(place, code);
            if code == 421 {
                return Ok(self.settle(Phase::Rcpt, code, 0, 0));
            }
        }
        self.took(Phase::Rcpt, written);
        let last = self.reply().await?;
        self.took(Phase::Final, written);
        Ok(self.settle_transaction(mail, rcpt, last))
    }

    /// One transaction, with DATA or without pipelining, from MAIL to the final reply.
    pub(crate) async fn transact(&mut self, job: Job) -> io::Result<Settlement> {
        let wanted = job.wanted;
        let pipelined = self.run.options.pipelining && self.offers.pipelining;
        let chunked = self.run.options.chunking && self.offers.chunking;
        let size = self.run.size_of(job.number);
        let mut head = Vec::with_capacity(512);
        let body = self.head_into(&mut head, &job, size);
        let mut written = Instant::now();
        self.pending.push_back(Pending { job, content_sent: false, written, reset: false });
        self.reset_if_needed().await?;
        self.put_mail(size);
        if pipelined {
            let job = self.pending.back().expect("pushed above").job.clone();
            self.put_recipients(&job);
            if !chunked {
                self.output.extend_from_slice(b"DATA\r\n");
            }
        }
        self.write_output().await?;
        let mail = self.reply().await?;
        self.took(Phase::Mail, written);
        if mail == 421 || (mail >= 400 && !pipelined) {
            return Ok(self.settle(Phase::Mail, mail, 0, 0));
        }
        let rcpt = self.recipients(wanted, pipelined, &mut written).await?;
        if rcpt.closing || (rcpt.accepted == 0 && !pipelined) {
            return Ok(self.settle(Phase::Rcpt, rcpt.code, 0, rcpt.refused));
        }
        if chunked {
            return self.chunk(mail, rcpt, &head, body).await;
        }
        if !pipelined {
            written = Instant::now();
            self.output.extend_from_slice(b"DATA\r\n");
            self.write_output().await?;
        }
        let go = self.reply().await?;
        if go < 300 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a final reply to DATA"));
        }
        if go != 354 {
            return Ok(self.settle_transaction(mail, rcpt, go));
        }
        self.content(mail, rcpt, &head, body, written).await
    }

    async fn reset_if_needed(&mut self) -> io::Result<()> {
        self.output.clear();
        if std::mem::take(&mut self.needs_reset) {
            self.output.extend_from_slice(b"RSET\r\n");
            self.write_output().await?;
            self.reply().await?;
        }
        Ok(())
    }

    /// Sends RCPT for each wanted recipient, unless they are under way, and reads the replies.
    async fn recipients(
        &mut self,
        wanted: u64,
        pipelined: bool,
        written: &mut Instant,
    ) -> io::Result<RcptReplies> {
        let mut rcpt = RcptReplies::default();
        if !pipelined {
            *written = Instant::now();
        }
        for place in places(wanted) {
            if !pipelined {
                let number = self.pending.back().expect("a job is under way").job.number;
                self.put_recipient(number, place);
                self.write_output().await?;
            }
            rcpt.note(place, self.reply().await?);
            if rcpt.closing {
                return Ok(rcpt);
            }
        }
        self.took(Phase::Rcpt, *written);
        Ok(rcpt)
    }

    async fn chunk(
        &mut self,
        mail: u16,
        rcpt: RcptReplies,
        head: &[u8],
        body: usize,
    ) -> io::Result<Settlement> {
        let run = self.run;
        let filler = run.texts.plain(body);
        write!(self.output, "BDAT {} LAST\r\n", head.len() + filler.len() + 2)?;
        self.output.extend_from_slice(head);
        let written = Instant::now();
        write_all(&mut self.stream, [&self.output, filler, b"\r\n"]).await?;
        self.finish(mail, rcpt, written).await
    }

    async fn content(
        &mut self,
        mail: u16,
        rcpt: RcptReplies,
        head: &[u8],
        body: usize,
        written: Instant,
    ) -> io::Result<Settlement> {
        let run = self.run;
        if rcpt.accepted == 0 || mail >= 400 {
            // RFC 2920 §3.1: a server that says 354 with no recipient gets an empty message.
            write_all(&mut self.stream, [b".\r\n", b"", b""]).await?;
        } else {
            let filler = run.texts.stuffed(body);
            write_all(&mut self.stream, [head, filler, b"\r\n.\r\n"]).await?;
        }
        self.took(Phase::Content, written);
        self.finish(mail, rcpt, Instant::now()).await
    }

    async fn finish(
        &mut self,
        mail: u16,
        rcpt: RcptReplies,
        written: Instant,
    ) -> io::Result<Settlement> {
        self.pending.back_mut().expect("a job is under way").content_sent = true;
        let last = self.reply().await?;
        self.took(Phase::Final, written);
        Ok(self.settle_transaction(mail, rcpt, last))
    }

    fn settle_transaction(&mut self, mail: u16, rcpt: RcptReplies, last: u16) -> Settlement {
        if mail >= 400 {
            return self.settle(Phase::Mail, mail, 0, 0);
        }
        if rcpt.code >= 400 {
            self.run.tally.borrow_mut().refused(Phase::Rcpt, rcpt.code);
        }
        if rcpt.accepted == 0 {
            return self.settle(Phase::Rcpt, 0, 0, rcpt.refused);
        }
        self.settle(Phase::Final, last, rcpt.accepted, rcpt.refused)
    }

    /// The oldest job ended with `code` at `phase`; `reached` are the recipients it was for.
    fn settle(&mut self, phase: Phase, code: u16, reached: u64, refused: u64) -> Settlement {
        let Pending { mut job, content_sent, .. } =
            self.pending.pop_front().expect("a job is under way");
        if code >= 300 {
            self.run.tally.borrow_mut().refused(phase, code);
        }
        let accepted = if code == 250 { reached } else { 0 };
        let mut refused = refused;
        // 503 tells of the commands' order, which a reset mends: no word on the recipients.
        if (500..600).contains(&code) && code != 503 {
            refused |= if phase == Phase::Mail { job.wanted } else { reached };
        }
        if accepted != 0 {
            job.copies += u32::from(content_sent);
        } else {
            self.needs_reset = true;
        }
        Settlement { job, accepted, refused, usable: code != 421 }
    }

    /// Says QUIT and leaves without waiting for the answer: nothing depends on it.
    pub(crate) async fn quit(mut self) {
        // The peer may be gone already, and then there is nobody to say it to.
        let _gone = self.stream.write_all(b"QUIT\r\n").await;
        if self.stream.is_secured() {
            // RFC 8446 §6.1: who writes no more says so, or the peer could not tell it from a cut.
            let _gone = self.stream.shutdown().await;
        }
    }

    fn refusal(&self, phase: Phase, code: u16) -> io::Error {
        self.run.tally.borrow_mut().refused(phase, code);
        io::Error::other(format!("{code} at {phase:?}"))
    }

    fn head_into(&self, head: &mut Vec<u8>, job: &Job, size: usize) -> usize {
        head.clear();
        let mut scratch = self.run.scratch.borrow_mut();
        scratch.address.clear();
        let place = job.wanted.trailing_zeros();
        self.run.recipient(job.number, place, &mut scratch.address);
        if let Some(labels) = &self.run.options.labels {
            labels.write(job.number, head);
        }
        self.run.texts.head(job.number, &scratch.address, size, head)
    }

    fn put_mail(&mut self, size: usize) {
        self.output.extend_from_slice(b"MAIL FROM:<");
        self.output.extend_from_slice(self.run.options.from.as_bytes());
        self.output.extend_from_slice(b">");
        if self.offers.size {
            write!(self.output, " SIZE={size}").expect("memory takes every write");
        }
        self.output.extend_from_slice(b"\r\n");
    }

    fn put_recipients(&mut self, job: &Job) {
        places(job.wanted).for_each(|place| self.put_recipient(job.number, place));
    }

    fn put_recipient(&mut self, number: u32, place: u32) {
        self.output.extend_from_slice(b"RCPT TO:<");
        self.run.recipient(number, place, &mut self.output);
        self.output.extend_from_slice(b">\r\n");
    }

    async fn write_output(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        self.stream.flush().await
    }

    async fn reply(&mut self) -> io::Result<u16> {
        self.replies.next(&mut self.stream, |_| {}).await
    }

    fn took(&self, phase: Phase, since: Instant) {
        self.run.tally.borrow_mut().took(phase, since.elapsed());
    }
}

/// Replies to the RCPT commands of one transaction, as sets of places.
#[derive(Clone, Copy, Debug, Default)]
struct RcptReplies {
    accepted: u64,
    refused: u64,
    /// The last code that was no acceptance.
    code: u16,
    /// Whether one of them was 421.
    closing: bool,
}

impl RcptReplies {
    fn note(&mut self, place: u32, code: u16) {
        match code {
            200..=299 => self.accepted |= 1 << place,
            503 => self.code = code,
            500..=599 => (self.refused, self.code) = (self.refused | 1 << place, code),
            _ => self.code = code,
        }
        self.closing |= code == 421;
    }
}

/// The places in a set.
pub(crate) fn places(set: u64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |place| set & (1 << place) != 0)
}

/// Writes three pieces in as few calls as the kernel needs.
async fn write_all(stream: &mut Stream, pieces: [&[u8]; 3]) -> io::Result<()> {
    let mut slices = pieces.map(IoSlice::new);
    let mut left = &mut slices[..];
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match stream.write_vectored(left).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => IoSlice::advance_slices(&mut left, count),
        }
    }
    stream.flush().await
}
