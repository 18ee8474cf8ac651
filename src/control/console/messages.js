// Find a message, and its life from 250 to its end.

import { get, post } from "/console/api.js";
import { ago, bytes, card, cell, confirm, count, h, notice, table, tag, when } from "/console/ui.js";

const LOOK_EVERY = 3000;
const STATES = { ready: "", attempting: "", deferred: "warn", held: "warn" };
const KINDS = {
  received: "", delivered: "good", deferred: "warn", bounced: "bad", expired: "bad", removed: "bad", held: "warn", released: "",
  quarantined: "warn", refused: "bad", discarded: "bad", verified: "", "bounced-later": "bad", complained: "bad", returned: "warn",
  opened: "good", clicked: "good", unsubscribed: "warn",
};

/** What somebody types is an id, an address, a domain, or a campaign's name. */
async function find(words) {
  if (words.includes("@")) return rowsOf(await get("/v1/messages", { recipient: words, from: "7d", limit: 100 }));
  if (/^[0-9a-z]{13}$/i.test(words)) return rowsOf(await get("/v1/messages", { id: words, from: "7d" }));
  if (!words || words.includes(".")) return get("/v1/queue/list", { domain: words, all: words ? undefined : true, limit: 200 });
  return rowsOf(await get("/v1/messages", { campaign: words, from: "7d", limit: 100 }));
}

/** A row a recipient: as the queue has it, else as the log's last word has it. */
function rowsOf({ queued, events }) {
  const rows = new Map();
  for (const event of events) {
    const key = `${event.id} ${event.recipient}`;
    const row = rows.get(key) ?? { id: event.id, recipient: event.recipient, accepted: event.time, bytes: event.size };
    rows.delete(key);
    rows.set(key, { ...row, state: event.kind, attempts: event.attempt ?? row.attempts });
  }
  for (const message of queued) {
    for (const story of message.recipients) {
      const { id, accepted, bytes } = message;
      rows.set(`${id} ${story.recipient}`, { ...story, id, accepted, bytes });
    }
  }
  return [...rows.values()].reverse();
}

export const messages = {
  name: "messages",
  title: "Messages",
  show(root, { rest, query }) {
    return rest[0] ? one(root, rest[0]) : search(root, query.get("q") ?? "");
  },
};

function search(root, words) {
  const field = h("input", { type: "search", id: "words", value: words, size: 40, placeholder: "a@b.example, message id, domain, campaign", autocomplete: "off", spellcheck: "false" });
  const form = h("form", { class: "tools" }, h("label", {}, "Recipient, message id, domain or campaign", field), h("button", { class: "primary" }, "Find"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    location.hash = `#/messages?q=${encodeURIComponent(field.value.trim())}`;
  });
  const note = h("p", { class: "hint" });
  const rows = table({
    key: (row) => `${row.id} ${row.recipient}`,
    empty: words ? "Nothing of that kind is in the queue or in the event log that is kept." : "What is in the queue is listed here.",
    open: (row) => (location.hash = `#/messages/${row.id}`),
    columns: [
      { label: "Recipient", text: (row) => row.recipient },
      { label: "State", node: cell((row) => row.state, (row) => tag(row.state, STATES[row.state] ?? KINDS[row.state] ?? "")) },
      { label: "Message", class: "mono", node: (row) => h("a", { href: `#/messages/${row.id}` }, row.id) },
      { label: "Attempts", class: "num", text: (row) => row.attempts ?? "" },
      { label: "Next attempt", text: (row) => (row.next_attempt ? ago(row.next_attempt) : "") },
      { label: "Accepted", text: (row) => (row.accepted ? ago(row.accepted) : "") },
      { label: "Size", class: "num", text: (row) => (row.bytes === undefined ? "" : bytes(row.bytes)) },
    ],
  });
  root.append(h("h1", {}, "Messages"), form, card("", rows, note));
  find(words)
    .then((found) => {
      rows.set(found);
      note.textContent = found.length >= 200 ? "There may be more." : words ? `${count(found.length)} found.` : "";
    })
    .catch((error) => (note.textContent = error.message));
  return {};
}

function fact(name, value) {
  return [h("dt", {}, name), h("dd", {}, value)];
}

function one(root, id) {
  const facts = h("dl", { class: "facts" });
  const recipients = table({
    key: (row) => row.recipient,
    empty: "Nothing of it is in the queue: it has come to its end, see below.",
    columns: [
      { label: "Recipient", text: (row) => row.recipient },
      { label: "State", node: cell((row) => row.state, (row) => tag(row.state, STATES[row.state] ?? "")) },
      { label: "Attempts", class: "num", text: (row) => row.attempts },
      { label: "Next attempt", text: (row) => (row.next_attempt ? ago(row.next_attempt) : "") },
      { label: "Why it waits", class: "words", text: (row) => row.limit ?? row.last ?? "" },
    ],
  });
  const life = h("ol", { class: "timeline" });
  const note = h("p", { class: "hint" });
  const verbs = h("div", { class: "tools" });
  const act = (verb, words, question) => h("button", {
    type: "button",
    class: verb === "remove" ? "danger" : "",
    onclick: async () => {
      if (question && !(await confirm(question, "Its sender is not told.", words))) return;
      try {
        const { recipients: changed } = await post(`/v1/queue/${verb}`, { id });
        notice(`${words}: ${count(changed)} recipients`);
        look();
      } catch (error) {
        notice(error.message, true);
      }
    },
  }, words);
  verbs.append(act("flush", "Try now"), act("hold", "Hold"), act("release", "Release"), act("remove", "Remove", `Remove ${id}?`));
  const state = card("In the queue", recipients, verbs);
  root.append(h("h1", {}, "Message ", h("code", {}, id)), card("", facts), h("div", { class: "grid two" }, state, card("Its life", life, note)));

  async function look() {
    let known = { queued: [], events: [] };
    try {
      known = await get("/v1/messages", { id, from: "7d" });
      note.textContent = known.events.length ? "" : "The event log that is kept has nothing of it.";
    } catch (error) {
      note.textContent = error.message;
    }
    const [message] = known.queued;
    recipients.set(message?.recipients.filter((row) => row.state !== "final") ?? []);
    verbs.hidden = !message;
    const lines = known.events;
    const first = lines[0];
    facts.replaceChildren(
      ...fact("From", `<${message?.reverse_path ?? first?.reverse_path ?? ""}>`),
      ...fact("Sent by", [message?.tenant ?? first?.tenant, message?.campaign ?? first?.campaign].filter(Boolean).join(" for ") || "(not said)"),
      ...fact("Size", bytes(message?.bytes ?? first?.size ?? 0)),
      ...(message ? [...fact("Expires", ago(message.expires)), ...fact("Durability", message.durability)] : []),
    );
    life.replaceChildren(...lines.map(event));
  }
  look();
  const timer = setInterval(look, LOOK_EVERY);
  return { leave: () => clearInterval(timer) };
}

function event(line) {
  const words = [line.recipient && `<${line.recipient}>`, line.peer && `by ${line.peer}`, line.class && `class ${line.class}`, line.attempt > 1 && `attempt ${line.attempt}`, line.tls];
  return h("li", { class: KINDS[line.kind] ?? "" }, when(line.time), tag(line.kind, KINDS[line.kind] ?? ""), " ", words.filter(Boolean).join(", "), line.reply && h("div", { class: "words" }, [line.code, line.status, line.reply].filter(Boolean).join(" ")), line.next_attempt && h("div", { class: "words" }, `next attempt ${ago(line.next_attempt)}`));
}
