import { MetaportError } from "/sdk/index.js";

import { element } from "./element.js";
import { language, languageSwitch } from "./language.js";
import { showProblem } from "./problem.js";

const METHODS = ["get", "post", "put", "patch", "delete", "options"];
const DEPTH = 6;

let api = null;

language.apply(document);
languageSwitch(document.getElementById("language"));
language.on("changed", show);
await load();

async function load() {
  try {
    const response = await fetch("/api/v1/openapi.json");
    if (!response.ok) throw new MetaportError("internal", `HTTP ${response.status}`);
    api = await response.json();
  } catch {
    showProblem(document.getElementById("trouble"), new MetaportError("unreachable"));
    return;
  }
  show();
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

function show() {
  document.title = language.say("apiDocs.title");
  if (!api) return;
  const contents = document.getElementById("contents");
  const groups = grouped();
  document.getElementById("lead").replaceChildren(
    language.say("apiDocs.lead", { version: api.info.version }),
    " ",
    element("a", { href: "/api/v1/openapi.json" }, language.say("apiDocs.document")),
  );
  contents.replaceChildren(
    element("ul", {}, ...[...groups].map(([tag]) => element("li", {}, element("a", { href: `#${tag}` }, group(tag)))),
      element("li", {}, element("a", { href: "#problems" }, language.say("apiDocs.problems")))),
  );
  document.getElementById("operations").replaceChildren(
    manners(),
    ...[...groups].map(([tag, operations]) =>
      element("section", { id: tag, "aria-labelledby": `${tag}-heading` },
        element("h2", { id: `${tag}-heading` }, group(tag)),
        ...operations.map(operation))),
    problems(),
  );
}

function grouped() {
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const method of METHODS) {
      if (!(method in methods)) continue;
      const tag = methods[method].tags[0];
      groups.set(tag, [...(groups.get(tag) ?? []), { path, method, told: methods[method] }]);
    }
  }
  return groups;
}

function group(tag) {
  return api.tags.find((each) => each.name === tag)["x-title"][language.code];
}

/** What every operation has in common. */
function manners() {
  const rules = ["ids", "limits", "keys", "tags", "fields", "pages", "versions"];
  return element("section", { "aria-labelledby": "manners-heading" },
    element("h2", { id: "manners-heading" }, language.say("apiDocs.manners.heading")),
    element("ul.rules", {}, ...rules.map((rule) => element("li", {}, language.say(`apiDocs.manners.${rule}`)))));
}

function operation({ path, method, told }) {
  const parts = [element("p.who", {}, whoMay(told))];
  const parameters = told.parameters ?? [];
  if (parameters.length > 0) parts.push(parameterTable(parameters));
  const body = told.requestBody?.content ?? {};
  for (const [type, { schema }] of Object.entries(body)) parts.push(shape("body", type, schema));
  for (const [status, answer] of Object.entries(told.responses)) {
    if (status === "default") continue;
    const content = Object.entries(answer.content ?? {});
    if (content.length === 0) parts.push(element("p", {}, `${language.say("apiDocs.answer")} ${status}`));
    for (const [type, { schema }] of content) parts.push(shape("answer", `${status} ${type}`, schema));
  }
  return element("details.operation", { id: told.operationId },
    element("summary", {},
      element(`span.method.${method}`, {}, method.toUpperCase()),
      element("code.path", {}, path),
      element("span.summary", {}, told["x-summary"][language.code])),
    element("div.told", {}, ...parts));
}

function whoMay(told) {
  if (!told.security) return language.say("apiDocs.anyone");
  const roles = told.security[0].bearer;
  if (roles.length === 0) return language.say("apiDocs.signedIn");
  return language.say("apiDocs.roles", { roles: roles.map((role) => api["x-roles"][role]?.[language.code] ?? role).join(", ") });
}

function parameterTable(parameters) {
  const heads = ["name", "place", "type", "required"].map((head) =>
    element("th", { scope: "col" }, language.say(`apiDocs.parameter.${head}`)));
  return element("div.scroll", { tabindex: 0, role: "region", "aria-label": language.say("apiDocs.parameter.caption") },
    element("table", {},
      element("caption", {}, language.say("apiDocs.parameter.caption")),
      element("thead", {}, element("tr", {}, ...heads)),
      element("tbody", {}, ...parameters.map((each) =>
        element("tr", {},
          element("td", {}, element("code", {}, each.name)),
          element("td", {}, each.in),
          element("td", {}, element("code", {}, typeOf(each.schema))),
          element("td", {}, language.say(each.required ? "apiDocs.yes" : "apiDocs.no")))))));
}

function shape(kind, type, schema) {
  const heading = element("p", {}, `${language.say(`apiDocs.${kind}`)} `, element("code", {}, type));
  if (!schema || Object.keys(schema).length === 0) return heading;
  return element("div", {}, heading,
    element("pre", { tabindex: 0 }, element("code", {}, outline(schema, "", 0))));
}

/** Write a schema as people write examples: member, type, whether it is needed. */
function outline(schema, indent, depth) {
  const whole = resolved(schema);
  if (whole.type === "array" && whole.items && depth < DEPTH) return `[\n${indent}  ${outline(whole.items, `${indent}  `, depth + 1)}\n${indent}]`;
  if (!whole.properties || depth >= DEPTH) return typeOf(whole);
  const required = new Set(whole.required ?? []);
  const rows = Object.entries(whole.properties).map(([name, each]) =>
    `${indent}  ${name}${required.has(name) ? "" : "?"}: ${outline(each, `${indent}  `, depth + 1)}`);
  return `{\n${rows.join("\n")}\n${indent}}`;
}

function resolved(schema) {
  const name = schema.$ref?.split("/").at(-1);
  return name === undefined ? schema : api.components.schemas[name];
}

function typeOf(schema) {
  const whole = resolved(schema);
  if (whole.enum) return whole.enum.map((each) => JSON.stringify(each)).join(" | ");
  if (whole.anyOf) return whole.anyOf.map(typeOf).join(" | ");
  if (whole.type === "array") return `${whole.items ? typeOf(whole.items) : "any"}[]`;
  const bounds = [whole.minimum ?? whole.minLength, whole.maximum ?? whole.maxLength];
  return `${whole.type ?? "any"}${range(...bounds)}`;
}

function range(least, most) {
  if (least === undefined && most === undefined) return "";
  if (least === undefined) return ` (≤ ${most})`;
  return most === undefined ? ` (≥ ${least})` : ` (${least}–${most})`;
}

function problems() {
  const heads = ["status", "type", "title"].map((head) => element("th", { scope: "col" }, language.say(`apiDocs.problem.${head}`)));
  return element("section", { id: "problems", "aria-labelledby": "problems-heading" },
    element("h2", { id: "problems-heading" }, language.say("apiDocs.problems")),
    element("p", {}, language.say("apiDocs.problemsLead")),
    element("div.scroll", { tabindex: 0, role: "region", "aria-labelledby": "problems-heading" },
      element("table", {},
        element("thead", {}, element("tr", {}, ...heads)),
        element("tbody", {}, ...api["x-problems"].map((each) =>
          element("tr", { id: each.type.split("/").at(-1) },
            element("td", {}, String(each.status)),
            element("td", {}, element("code", {}, each.type)),
            element("td", {}, each.title[language.code])))))));
}
