//! What bounces for people look like, as patterns.

use std::sync::LazyLock;

use regex::Regex;

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a literal pattern")
}

/// An address among words.
pub(super) static ADDRESS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"[\w!#$%&'*+/=?^`{|}~.-]+@[\w-]+(?:\.[\w-]+)+"));

/// A line that begins with an address, or with a word that introduces one.
pub(super) static AT_START: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?ix)^[\s>|]{0,8}(?:[-*•]\s*|\d{1,3}[.)]\s+)?
        (?:(?:to|rcpt\ to|an|recipient(?:\ address)?|e-?mail|address|for|user|empf[äa]nger|
        adresse|an[:]?|
        destinataire|destinatario|final\ recipient|original\ recipient)\s*[:=]\s*)?
        ["'(<\[]*(?:mailto:)?
        ([\w!\#$%&*+/=?^`{|}~.-]+@[\w-]+(?:\.[\w-]+)+)
        [>"'):\]]*"#,
    )
});

/// What stands before the address of a sender.
pub(super) static OF_SENDER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(?i)\b(from|by|von|contact)\W{0,3}$"#));

/// A line that says of delivery what may come with an address.
pub(super) static OF_DELIVERY: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?ix)deliver|recipient|could\ ?n[o']t\ be|message\ to|mail\ to|mailbox|\buser\b|sent\ to|
        reach|returned|unknown|rejected|undeliver|zustell|zugestellt|empf[äa]nger|gesendet|
        an\ die\ (e-?mail-?)?adresse|destinataire|destinatario|was\ n[o']t\ found",
    )
});

/// The subject of a bounce.
pub(super) static SUBJECT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?ix)undeliver|non[- ]?deliver|returned\ (mail|to\ sender|message)|delivery\ (status|
        failure|failed|has\ failed|problem|error|report|notification|delayed|unsuccessful)|
        failure\ (notice|notification|delivery)|mail\ (delivery|failure|status|system\ error)|
        (could|can)\ ?not\ (be\ )?(send|sent|deliver)|message\ (delivery|not\ delivered|
        you\ sent\ blocked|status)|delayed\ (mail|message)|warning:\ (message|could)|
        unzustellbar|nicht\ zustellbar|unzustellbare|zustellung|nicht\ zugestellt|
        fehlgeschlagen|r[üu]ckl[äa]ufer|[ée]chec\ de\ (la\ )?remise|non\ remis|
        no\ se\ puede\ entregar|mancato\ recapito|onbestelbaar|bounced?\b|mail\ returned",
    )
});

/// The subject of somebody's answer to a bounce.
pub(super) static ANSWER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)^\s*(re|aw|antw|sv|fwd?|wg)\s*:"));

/// A line behind which is what the report returns of the message.
pub(super) static RETURNED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?ix)^\s*(\|?-{2,}\s*(message\ text|this\ is\ a\ copy|below\ this\ line|
        returned\ message|original\ |unsent\ message|message\ header|
        the\ header\ of|enclosed|forwarded|ursprüngliche|
        der\ header|header\ der|kopie)|original\ message\ (headers?|follows)|
        message\ headers\ follow|-+\ ?original|urspr[üu]ngliche\ nachrichten?kopfzeilen|
        begin\ (forwarded|returned)|received:\ |return-path:\ |dkim-signature:\ |
        the\ (original\ )?message\ (headers?\ )?(follows|was\ as\ follows)|
        ={3,}\ (original|returned)|this\ is\ a\ copy\ of\ the)",
    )
});

/// Something has come to nothing.
pub(super) static FAILED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?ix)undeliver|(could|can|was|were|has|have)\ ?(n[o']t|\ not)\ (be(en)?\ )?
        (deliver|sent|reach|found|accept)|not\ (be\ )?delivered|unable\ to\ deliver|
        (delivery|message)\ .{0,60}fail|failed|failure|permanent|fatal\ error|rejected|
        unknown\ (user|recipient|address)|user\ unknown|does\ n[o']t\ exist|did\ n[o']t\ reach|
        doesn't\ exist|didn't\ reach|no\ such\ (user|mailbox)|mailbox\ (is\ )?(full|unavailable)|
        giving\ up|gave\ up|returned\ to\ (the\ )?sender|over\ ?quota|returned\ mail|
        zur[üu]ckgesandt|nicht\ zugestellt|unzustellbar|nicht\ zustellbar|
        konnte.{0,80}nicht|existiert\ nicht|unbekannt|fehlgeschlagen|abgelehnt|
        non\ remis|[ée]chec|no\ se\ (pudo|puede|ha\ podido)|mancato\ recapito|non\ esiste",
    )
});

/// It is still tried.
pub(super) static WAITING: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?ix)still\ (being\ )?(tr(y|ied)|retr|in\ the\ queue)|will\ (be\ )?(continue|keep|retr|
        try)|retr(y|ied)\ (for|until|again)|delayed|warning\ message\ only|not\ yet\ been\ deliver|
        not\ been\ delivered\ yet|has\ not\ yet|no\ action\ is\ required|noch\ nicht\ zugestellt|
        weitere(n)?\ (zustell)?versuch|verz[öo]ger",
    )
});

/// It is not tried any more, whatever else is said.
pub(super) static OVER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?ix)permanent\ error|failed\ permanently|given\ up|giving\ up\ on|gave\ up|
        no\ further\ attempt|
        will\ not\ be\ (retried|tried)|been\ (returned|undeliverable)|keine\ weiteren|
        could\ not\ be\ delivered\ (for|within|after)|retry\ timeout\ exceeded|not\ be\ retried",
    )
});

/// Local parts of those who help, not of recipients.
pub(super) static HELP: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?ix)^(mailer-?daemon|postmaster|abuse|support|help(desk)?|no-?reply|admin(istrator)?|
        hostmaster|webmaster|noc|security|mail-?admin)$",
    )
});

/// An enhanced status among words.
pub(super) static STATUS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?:^|[\s(#=\[:;,<-])([245]\.\d{1,3}\.\d{1,3})(?:[^\d.]|\.\D|\.?$)"));

/// A reply code among words: not a port, not a year, not a part of an address.
pub(super) static CODE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)(?:^|[\s(\[:;,<#>']|smtp;)([45][0-5]\d)(?:[\s:;,)\]>'-]|$)"));
