// Campaigns: how far, how long still, what came of it; pause and resume.

import { get, post } from "/console/api.js";
import { card, cell, confirm, count, duration, h, notice, percent, table, tag } from "/console/ui.js";

const LOOK_EVERY = 3000;
// What is left is held against what went in the last while.
const PACE_OVER = 60;

/** Remembers how much was done when, and says how long the rest takes. */
class Pace {
  seen = new Map();

  left(key, done, waiting, now = Date.now() / 1000) {
    const points = this.seen.get(key) ?? [];
    points.push([now, done]);
    while (points.length > 2 && now - points[0][0] > PACE_OVER) points.shift();
    this.seen.set(key, points);
    const [since, before] = points[0];
    const speed = (done - before) / (now - since);
    return waiting && speed > 0 ? waiting / speed : undefined;
  }
}

function progress(row) {
  const bar = h("div", { class: "bar", role: "img" });
  const parts = ["done", "failed", "left"].map((name) => h("i", { class: name }));
  bar.append(...parts);
  bar.update = ({ delivered, failed, waiting, all }) => {
    [delivered, failed, waiting].forEach((part, n) => parts[n].style.setProperty("width", `${all ? (100 * part) / all : 0}%`));
    bar.setAttribute("aria-label", `${percent(delivered, all)} delivered, ${percent(failed, all)} failed`);
  };
  bar.update(row);
  return bar;
}

export const campaigns = {
  name: "campaigns",
  title: "Campaigns",
  show(root, { query }) {
    const pace = new Pace();
    let rows = [];
    const wanted = h("input", { type: "search", placeholder: "Tenant or campaign", "aria-label": "Filter campaigns", value: query.get("q") ?? "", oninput: () => draw() });
    const note = h("p", { class: "hint" });

    async function pause(row, verb) {
      try {
        await post(`/v1/queue/${verb}`, { tenant: row.tenant, campaign: row.campaign });
        notice(`${row.campaign || row.tenant} is ${verb === "pause" ? "paused" : "resumed"}`);
        await look();
      } catch (error) {
        notice(error.message, true);
      }
    }

    function actions(row) {
      const button = h("button", { type: "button", class: "small" });
      button.addEventListener("click", async () => {
        const now = button.row;
        if (now.paused) return pause(now, "resume");
        const what = now.campaign ? `${now.campaign} of ${now.tenant}` : `all of ${now.tenant}`;
        if (await confirm(`Pause ${what}?`, "What is with peers goes on; the rest waits until it is resumed, over restarts too.", "Pause")) pause(now, "pause");
      });
      button.update = (now) => {
        button.row = now;
        const words = now.paused ? "Resume" : "Pause";
        if (button.textContent !== words) button.textContent = words;
        button.hidden = !now.tenant;
      };
      button.update(row);
      return button;
    }

    const grid = table({
      key: (row) => `${row.tenant} ${row.campaign}`,
      empty: "No campaign was sent in the last 30 days, and none waits.",
      columns: [
        { label: "Campaign", text: (row) => row.campaign || "(none)" },
        { label: "Tenant", text: (row) => row.tenant || "(none)" },
        { label: "State", node: cell((row) => String([row.paused, row.waiting > 0]), (row) => (row.paused ? tag("paused", "warn") : row.waiting ? tag("under way") : tag("done", "good"))) },
        { label: "Progress", node: progress },
        { label: "Delivered", class: "num", text: (row) => count(row.delivered) },
        { label: "Waiting", class: "num", text: (row) => count(row.waiting) },
        { label: "Failed", class: "num", text: (row) => count(row.failed) },
        { label: "Still takes", class: "num", text: (row) => (row.paused || !row.waiting ? "" : row.left === undefined ? "…" : duration(row.left)) },
        { label: "Opens", class: "num", text: (row) => opens(row) },
        { label: "Clicks", class: "num", text: (row) => (row.clicks ? count(row.clicks) : "") },
        { label: "Complaints", class: "num", text: (row) => (row.complaints ? count(row.complaints) : "") },
        { label: "", class: "act", node: actions },
      ],
    });
    root.append(
      h("h1", {}, "Campaigns"),
      h("div", { class: "tools" }, wanted),
      card("", grid, h("div", { class: "legend" }, h("span", {}, "Green: delivered"), h("span", {}, "Red: bounced, expired or suppressed"), h("span", {}, "Amber: waiting")), note),
    );

    function draw() {
      const words = wanted.value.trim().toLowerCase();
      grid.set(rows.filter((row) => `${row.tenant} ${row.campaign}`.toLowerCase().includes(words)));
    }

    async function look() {
      try {
        const [paused, figures] = await Promise.all([get("/v1/pauses"), get("/v1/kpis", { by: "campaign", interval: "day", limit: 1000 })]);
        rows = joined(paused, figures.rows, pace);
        note.textContent = "Of the last 30 days. Opens and clicks are those of people.";
        draw();
      } catch (error) {
        note.textContent = error.message;
      }
    }
    look();
    const timer = setInterval(look, LOOK_EVERY);
    return { leave: () => clearInterval(timer) };
  },
};

function opens(row) {
  return row.opens_people ? `${count(row.opens_people)} (${percent(row.opens_people, row.delivered)})` : "";
}

/** What came of each; what is in the queue is the rest. */
function joined(paused, figures, pace) {
  const all = new Map();
  const one = (tenant, campaign) => {
    const key = `${tenant} ${campaign}`;
    if (!all.has(key)) all.set(key, { tenant, campaign, waiting: 0, paused: false, delivered: 0, failed: 0, clicks: 0, complaints: 0, opens_people: 0 });
    return all.get(key);
  };
  for (const row of figures) {
    // A tenant's name, a space, the campaign's; no name has a space.
    const words = row.key.split(" ");
    const mine = one(words.length > 1 ? words[0] : "", words.at(-1));
    Object.assign(mine, { delivered: row.delivered, clicks: row.clicks, complaints: row.complaints, opens_people: row.opens_people });
    mine.failed = row.bounced + row.expired + row.suppressed + row.removed;
    // What came in before the first of the days is in no figure of theirs.
    mine.waiting = Math.max(0, row.injected - row.delivered - mine.failed);
  }
  for (const { tenant, campaign } of paused) {
    // One that is paused shows, whatever it sent; a tenant stands for all of its campaigns.
    if (campaign) one(tenant, campaign).paused = true;
    else if (![...all.values()].some((row) => row.tenant === tenant)) one(tenant, "");
    for (const row of all.values()) row.paused ||= !campaign && row.tenant === tenant;
  }
  const rows = [...all.values()];
  for (const row of rows) {
    row.all = row.delivered + row.failed + row.waiting;
    row.left = pace.left(`${row.tenant} ${row.campaign}`, row.delivered + row.failed, row.waiting);
  }
  return rows.sort((a, b) => b.waiting - a.waiting || b.delivered - a.delivered);
}
