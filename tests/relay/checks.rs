//! The relay's own checks come before anyone is asked about a message.

use crate::client::{Client, message};
use crate::node::{Node, free_port, to_upstream};
use crate::sink::Sink;

/// A milter that cannot be reached would have each message deferred.
#[test]
fn what_the_relay_refuses_by_itself_no_milter_is_asked_about() {
    let sink = Sink::start();
    let milter = format!(
        "[[milter]]\nname = \"gone\"\naddress = \"127.0.0.1:{}\"\nlisteners = [\"127.0.0.1:0\"]\n",
        free_port()
    );
    let config = to_upstream(&sink.address.to_string(), &milter);
    let address = "address = \"127.0.0.1:0\"\n";
    let node =
        Node::start(&config.replacen(address, &format!("{address}checks = \"reject\"\n"), 1));
    let mut client = Client::connect(node.listen[0]);
    for (content, code) in [(message("no date"), 550), (message("x\r\nDate: now"), 451)] {
        assert_eq!(client.envelope("<a@a.example>", &["<b@b.example>"]), [250, 250]);
        let reply = client.content(&content).unwrap();
        assert_eq!(reply.code, code, "{reply:?}");
    }
    assert_eq!(node.metric("relay_fast_checks_failed_total{check=\"form\"}"), 1.0);
    assert_eq!(node.metric("relay_fast_filtered_total{outcome=\"failed\"}"), 1.0);
    assert!(sink.taken().is_empty());
}
