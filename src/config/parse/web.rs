//! Read where links lead that come back to this node: `[web]`, and what tenants want of them.

use crate::base::limits::WEB_ADDRESSES_MAX;
use crate::config::knobs;
use crate::config::options::{CertificateFiles, LinkOptions, SuppressionOptions, WebOptions};
use crate::config::parse::forms;
use crate::config::reader::{Reader, Section};
use crate::config::units::Wrong;
use crate::policy::links::letter::Unsubscribe;
use crate::policy::suppression::At;

/// `None`: there are no links.
pub(super) fn read(reader: &mut Reader<'_>, root: &Section<'_>) -> Option<WebOptions> {
    let section = reader.table(root, "web");
    let listen = reader.list(&section, &knobs::WEB_LISTEN, forms::socket_address);
    if listen.is_none() {
        reader.note(&section, &knobs::WEB_LISTEN, "[]".into(), None);
    }
    let listen = listen.unwrap_or_default();
    let host = reader.text(&section, &knobs::WEB_HOST, None, forms::host_name);
    let secrets = reader.text(&section, &knobs::WEB_SECRETS, None, forms::path);
    let chain = reader.text(&section, &knobs::WEB_CERTIFICATE, None, forms::path);
    let key = reader.text(&section, &knobs::WEB_KEY, None, forms::path);
    let soon = reader.duration(&section, &knobs::WEB_SOON).value;
    let honours_do_not_track = reader.choice(&section, &knobs::WEB_DO_NOT_TRACK) == "honour";
    if let Some(further) = listen.get(WEB_ADDRESSES_MAX) {
        let wrong = Wrong::new(format!("there are more than {WEB_ADDRESSES_MAX} addresses"));
        reader.finder.add(further.place_or(section.place()), wrong);
    }
    if let (Some(given), None) | (None, Some(given)) = (&chain, &key) {
        let wrong = Wrong::new("a certificate and its key go together");
        reader.finder.add(given.place_or(section.place()), wrong.help("name both, or neither"));
    }
    let is_any = !listen.is_empty() || host.is_some() || secrets.is_some() || chain.is_some();
    let (Some(host), Some(secrets)) = (&host, &secrets) else {
        if is_any {
            let missing = if host.is_none() { "web.host" } else { "web.secrets" };
            let wrong = Wrong::new("there are no links").help(format!("set `{missing}`"));
            reader.finder.add(section.place(), wrong);
        }
        return None;
    };
    let certificate = chain
        .zip(key)
        .map(|(chain, key)| CertificateFiles { chain: chain.value.into(), key: key.value.into() });
    Some(WebOptions {
        listen: listen.into_iter().map(|given| given.value).collect(),
        host: host.value.as_str().to_ascii_lowercase().into(),
        secrets: secrets.value.clone().into(),
        certificate,
        soon,
        honours_do_not_track,
    })
}

/// What a tenant wants.
pub(super) fn of_tenant(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    web: Option<&WebOptions>,
    suppression: &SuppressionOptions,
) -> LinkOptions {
    let unsubscribe = match reader.choice(section, &knobs::TENANT_UNSUBSCRIBE) {
        "check" => Unsubscribe::Check,
        "add" => Unsubscribe::Add,
        _ => Unsubscribe::Off,
    };
    let tracking = reader.choice(section, &knobs::TENANT_TRACKING);
    let host = reader.text(section, &knobs::TENANT_TRACKING_HOST, None, forms::host_name);
    let options = LinkOptions {
        unsubscribe,
        opens: ["opens", "all"].contains(&tracking),
        clicks: ["clicks", "all"].contains(&tracking),
        host: host.map(|given| given.value.as_str().to_ascii_lowercase().into()),
    };
    let makes_links = options.opens || options.clicks || unsubscribe == Unsubscribe::Add;
    if makes_links && web.is_none() {
        let wrong = Wrong::new("its links would lead nowhere");
        reader.finder.add(section.place(), wrong.help("set `web.host` and `web.secrets`"));
    }
    if unsubscribe == Unsubscribe::Add && suppression.unsubscribes && suppression.at == At::Off {
        let wrong = Wrong::new("whoever unsubscribes would go on getting its messages");
        let help =
            "set `suppression.at`; or `suppression.unsubscribes = \"ignore\"`, and act on events";
        reader.finder.add(section.place(), wrong.help(help));
    }
    options
}
