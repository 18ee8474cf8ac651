// Ask the node: the same paths that `relay-fast queue` and its siblings ask.

const TOKEN = "relay-fast-token";

/** Why there is no answer. */
export class Refused extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

// Of this tab only: it is gone with it.
export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (text) => sessionStorage.setItem(TOKEN, text),
  forget: () => sessionStorage.removeItem(TOKEN),
};

let login = async () => {};

/** Who is asked for a token, where one is needed. */
export function onLogin(ask) {
  login = ask;
}

function headers() {
  const said = token.get();
  return said ? { authorization: `Bearer ${said}` } : {};
}

function url(path, query = {}) {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== "" && value !== null);
  return pairs.length ? `${path}?${new URLSearchParams(pairs)}` : path;
}

async function call(method, path, query, signal) {
  for (;;) {
    const answer = await fetch(url(path, query), { method, headers: headers(), signal, cache: "no-store" });
    if (answer.status === 401) {
      await login(Boolean(token.get()));
      continue;
    }
    const text = await answer.text();
    let body;
    try {
      body = JSON.parse(text);
    } catch {
      body = text;
    }
    if (!answer.ok) throw new Refused(answer.status, body?.error ?? `${answer.status} ${answer.statusText}`);
    return body;
  }
}

export const get = (path, query, signal) => call("GET", path, query, signal);
export const post = (path, query) => call("POST", path, query);

/**
 * What the node tells while it is watched. A stream of events, read by `fetch` since an EventSource
 * cannot say a token; it is asked for again whenever it ends.
 */
export async function live(path, { event, state }) {
  for (let wait = 500; ; wait = Math.min(wait * 2, 10000)) {
    try {
      const answer = await fetch(path, { headers: { ...headers(), accept: "text/event-stream" }, cache: "no-store" });
      if (answer.status === 401) {
        await login(Boolean(token.get()));
        continue;
      }
      if (!answer.ok) throw new Refused(answer.status, answer.statusText);
      state(true);
      wait = 500;
      await read(answer.body, event);
    } catch (error) {
      state(false, error.message);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

async function read(stream, event) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim());
      if (data.length) event(JSON.parse(data.join("\n")));
    }
  }
}
