// Why mail is refused: by class, now and over time.

import { get } from "/console/api.js";
import { card, count, h, percent, table } from "/console/ui.js";

const WORDS = {
  "bad-mailbox": "There is no such mailbox",
  inactive: "The mailbox is not in use",
  quota: "The mailbox is full",
  "bad-domain": "The domain does not exist, or takes no mail",
  "no-answer": "No connection, or no answer in time",
  routing: "No way leads there: a loop, or relaying is denied",
  reputation: "The source or the sender's domain is not trusted",
  spam: "Taken for spam",
  virus: "Taken for malware",
  authentication: "SPF, DKIM or DMARC failed",
  "rate-limit": "Too much at a time",
  greylisted: "To be tried again a little later",
  content: "The message itself is not taken: its size, form or attachments",
  policy: "Against the receiver's rules",
  tls: "TLS did not come about as it has to",
  protocol: "The peers did not understand each other",
  transient: "A trouble of the receiver's that passes",
  suppressed: "On a suppression list here",
  "given-up": "Its time was over",
  other: "None of these",
};

export const bounces = {
  name: "bounces",
  title: "Bounces",
  show(root) {
    const classes = table({
      key: (row) => row.class,
      empty: "Nothing was refused since the node began.",
      columns: [
        { label: "Class", node: (row) => h("span", { title: WORDS[row.class] ?? "" }, row.class) },
        { label: "Bounced", class: "num", text: (row) => count(row.bounced) },
        { label: "Share", class: "num", text: (row) => percent(row.bounced, row.of) },
        { label: "Deferred attempts", class: "num", text: (row) => count(row.deferred) },
        { label: "Meaning", class: "words", text: (row) => WORDS[row.class] ?? "" },
      ],
    });
    const day = table({
      key: (row) => row.key,
      empty: "No domain bounced anything in the last 24 hours.",
      columns: [
        { label: "Domain", text: (row) => row.key },
        { label: "Delivered", class: "num", text: (row) => count(row.delivered) },
        { label: "Bounced", class: "num", text: (row) => count(row.bounced) },
        { label: "Share", class: "num", text: (row) => percent(row.bounced, row.delivered + row.bounced) },
        { label: "Mostly", class: "words", text: (row) => mostly(row.bounced_by_class) },
        { label: "Complaints", class: "num", text: (row) => count(row.complaints) },
      ],
    });
    root.append(h("h1", {}, "Bounces"), h("div", { class: "grid two" }, card("By class, since the node began", classes), card("By domain, last 24 hours", day)));
    get("/v1/kpis", { by: "domain", interval: "hour", limit: 200 })
      .then((answer) => day.set(answer.rows.filter((row) => row.bounced || row.complaints).sort((a, b) => b.bounced - a.bounced)))
      .catch((error) => day.replaceChildren(h("p", { class: "empty" }, error.message)));
    return {
      update({ now }) {
        const of = now.classes.reduce((sum, row) => sum + row.bounced, 0);
        classes.set(now.classes.map((row) => ({ ...row, of })));
      },
    };
  },
};

function mostly(classes = {}) {
  const [first] = Object.entries(classes).sort((a, b) => b[1] - a[1]);
  return first ? `${first[0]} (${count(first[1])})` : "";
}
