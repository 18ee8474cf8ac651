// Sites: what waits, which limit binds, what they last refused; leave one alone, or set a rate.

import { get, post } from "/console/api.js";
import { ago, card, cell, confirm, count, duration, h, notice, table, tag } from "/console/ui.js";

const LOOK_EVERY = 3000;

/** Sites as the overview has them, with how each source stands there. */
function joined(sites, outlets) {
  const bySite = new Map(sites.map((site) => [site.site, { ...site, sources: [] }]));
  for (const outlet of outlets) {
    const hosts = outlet.site.split("@").pop().split(",");
    const name = hosts.find((host) => bySite.has(host)) ?? outlet.site;
    if (!bySite.has(name)) bySite.set(name, { site: name, waiting: 0, connections: outlet.connections, sources: [] });
    bySite.get(name).sources.push(outlet);
  }
  return [...bySite.values()];
}

function isSlow(source) {
  return source.by !== "rules" || source.suspended_s || source.rules.length > 0;
}

function suspension(site) {
  const all = [site.suspended_s, ...site.sources.map((source) => source.suspended_s)].filter((time) => time !== undefined && time !== null);
  return all.length ? Math.max(...all) : undefined;
}

/** The rule, or the operator, that has a source send nothing. */
function leftAloneBy(site) {
  const why = site.sources.find((source) => source.why)?.why;
  return why ? `left alone by ${why}` : "";
}

function standing(site) {
  const time = suspension(site);
  if (time !== undefined) return tag(`left alone ${duration(time)}`, "bad");
  if (site.sources.some(isSlow)) return tag("slowed down", "warn");
  return site.waiting ? tag("in line", "") : tag("flows", "good");
}

export const destinations = {
  name: "destinations",
  title: "Destinations",
  show(root, { query }) {
    let outlets = [];
    let shaped = false;
    let sites = [];
    const wanted = h("input", { type: "search", placeholder: "Host or domain", "aria-label": "Filter sites", value: query.get("q") ?? "", oninput: () => draw() });
    const note = h("p", { class: "hint" });

    async function change(verb, asked, done) {
      try {
        await post(`/v1/shaping/${verb}`, asked);
        notice(done);
        await look();
      } catch (error) {
        notice(error.message, true);
      }
    }

    function actions(site) {
      const suspend = h("button", { type: "button", class: "small" }, "Suspend");
      const resume = h("button", { type: "button", class: "small" }, "Resume");
      suspend.addEventListener("click", async () => {
        if (await confirm(`Suspend ${site.site}?`, "Nothing is sent there for an hour, whatever waits. Mail keeps its lifetime.", "Suspend for 1 hour")) {
          change("set", { site: site.site, suspend: "1h" }, `${site.site} is left alone for an hour`);
        }
      });
      resume.addEventListener("click", () => change("reset", { site: site.site }, `${site.site} is as its rules have it`));
      const holder = h("span", {}, suspend, " ", resume);
      holder.update = (now) => {
        const stopped = suspension(now) !== undefined;
        suspend.hidden = !shaped || stopped;
        resume.hidden = !shaped || !(stopped || now.sources.some(isSlow));
      };
      holder.update(site);
      return holder;
    }

    const rows = table({
      key: (row) => row.site,
      empty: "Nothing was sent anywhere lately.",
      columns: [
        { label: "Site", class: "mono", text: (row) => row.site },
        { label: "State", node: cell((row) => JSON.stringify([suspension(row), row.sources.some(isSlow), row.waiting > 0]), standing) },
        { label: "In line", class: "num", text: (row) => count(row.waiting) },
        { label: "Connections", class: "num", text: (row) => count(row.connections) },
        { label: "Rate", text: (row) => [...new Set(row.sources.map((source) => source.rate))].join(", ") },
        { label: "Limit that binds", class: "words", text: (row) => row.why ?? leftAloneBy(row) },
        { label: "Last refusal", class: "words", text: (row) => (row.refused ? `${row.refused} (${ago(row.refused_at)})` : "") },
        { label: "", class: "act", node: actions },
      ],
    });
    root.append(h("h1", {}, "Destinations"), h("div", { class: "tools" }, wanted), card("", rows, note));

    function draw() {
      const words = wanted.value.trim().toLowerCase();
      const all = joined(sites, outlets).filter((row) => row.site.toLowerCase().includes(words));
      rows.set(all);
    }

    async function look() {
      try {
        outlets = await get("/v1/shaping");
        shaped = true;
        note.textContent = "Rates and suspensions are of shaping: `relay-fast shaping status` says the same.";
      } catch (error) {
        [outlets, shaped] = [[], false];
        note.textContent = error.status === 409 ? "Nothing is shaped (`file` in [shaping]): sites cannot be suspended by hand." : error.message;
      }
      draw();
    }
    look();
    const timer = setInterval(look, LOOK_EVERY);
    return {
      update({ now }) {
        sites = now.sites;
        draw();
      },
      leave: () => clearInterval(timer),
    };
  },
};
