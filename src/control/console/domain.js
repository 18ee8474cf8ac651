// Check what DNS says of a domain, and what to publish.

import { get } from "/console/api.js";
import { card, h, tag } from "/console/ui.js";

const KINDS = { pass: "good", warn: "warn", fail: "bad", unchecked: "warn" };

export const domain = {
  name: "domain",
  title: "Domain check",
  show(root, { query }) {
    const name = query.get("domain") ?? "";
    const field = h("input", { type: "text", value: name, size: 30, placeholder: "example.com", autocomplete: "off", spellcheck: "false", required: true });
    const form = h("form", { class: "tools" }, h("label", {}, "Domain", field), h("button", { class: "primary" }, "Check"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      location.hash = `#/domain?domain=${encodeURIComponent(field.value.trim())}`;
    });
    const found = h("div");
    root.append(h("h1", {}, "Domain check"), form, found);
    if (!name) {
      found.append(h("p", { class: "empty" }, "MX, SPF, DKIM, DMARC, MTA-STS, TLS-RPT, DANE and BIMI of a domain that this node sends or takes mail for, and what to publish."));
      return {};
    }
    const asking = new AbortController();
    found.append(h("p", { class: "empty", role: "status" }, `Asking DNS about ${name} …`));
    get("/v1/check-domain", { domain: name }, asking.signal)
      .then((report) => found.replaceChildren(card(report.domain, ...report.findings.map(finding))))
      .catch((error) => error.name === "AbortError" || found.replaceChildren(h("p", { class: "alert" }, error.message)));
    return { leave: () => asking.abort() };
  },
};

function finding(one) {
  const publish = [...one.publish.map((record) => record.line), one.serve && `; and served at ${one.serve.url}:\n${one.serve.text}`].filter(Boolean);
  return h(
    "div",
    { class: "check" },
    tag(one.status, KINDS[one.status] ?? ""),
    " ",
    h("strong", {}, one.check),
    " ",
    h("span", { class: "mono" }, one.of),
    h("div", { class: "words" }, one.found, one.status === "pass" || one.status === "info" ? "" : ` (${one.reference})`),
    publish.length > 0 && h("pre", { class: "mono" }, `${one.replaces ? "; instead of what is there\n" : ""}${publish.join("\n")}`),
  );
}
