import { Account, MetaportError } from "/sdk/index.js";

import { language, languageSwitch } from "./language.js";
import { LiveStatus } from "./live_status.js";
import { showProblem } from "./problem.js";
import { UsageReport } from "./usage_report.js";

const SESSION = "metaport.operator";
const ZONE = "Asia/Seoul";

const account = new Account(location.origin);
const form = document.getElementById("sign-in-form");
const problem = document.getElementById("sign-in-problem");
const fields = { user: document.getElementById("user"), password: document.getElementById("password") };

language.apply(document);
languageSwitch(document.getElementById("language"));
language.on("changed", relabel);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  signIn();
});
document.getElementById("sign-out").addEventListener("click", signOut);
relabel();
comeBack();

async function signIn() {
  const missing = Object.entries(fields).filter(([name, field]) => complain(name, field.value.trim() === ""));
  if (missing.length > 0) return missing[0][1].focus();
  showProblem(problem, null);
  try {
    await account.signIn(fields.user.value.trim(), fields.password.value);
  } catch (error) {
    showProblem(problem, error.code === 401 ? new MetaportError("wrong_password") : error);
    return fields.password.focus();
  }
  fields.password.value = "";
  keep();
  await open();
  document.getElementById("desk-heading").focus();
}

/** Mark a field that is empty; return whether it is. */
function complain(name, empty) {
  const field = fields[name];
  if (empty) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
  document.getElementById(`${name}-problem`).textContent = empty ? language.say(`console.${name}Missing`) : "";
  return empty;
}

/** After a reload one is still signed in, in this tab. */
async function comeBack() {
  let kept = null;
  try {
    kept = JSON.parse(sessionStorage.getItem(SESSION) ?? "null");
  } catch {
    // Storage is refused or holds something else.
  }
  if (!kept) return fields.user.focus();
  try {
    await account.resume(kept);
    keep();
    await open();
  } catch {
    signOut();
  }
}

async function open() {
  const { zone = ZONE } = await fetch("/api/v1/config")
    .then((response) => (response.ok ? response.json() : {}))
    .catch(() => ({}));
  document.getElementById("sign-in").hidden = true;
  document.getElementById("desk").hidden = false;
  document.getElementById("sign-out").hidden = false;
  relabel();
  new LiveStatus(ask, zone);
  await new UsageReport(ask, zone).show();
}

/** Ask the API as the operator; what is refused becomes an error with a reason. */
async function ask(path) {
  let response;
  try {
    response = await account.fetch(path);
  } catch (error) {
    if (error instanceof MetaportError && error.permanent) throw new MetaportError("token_expired", "", { permanent: true });
    throw new MetaportError("unreachable");
  }
  if (response.ok) return response;
  if (response.status === 401) throw new MetaportError("token_expired", "", { permanent: true });
  if (response.status === 403) throw new MetaportError("not_allowed", "", { permanent: true });
  throw new MetaportError(response.status >= 500 ? "internal" : "refused", `HTTP ${response.status}`);
}

function keep() {
  try {
    sessionStorage.setItem(SESSION, JSON.stringify(account.remembered));
  } catch {
    // Without storage a reload asks for the password again.
  }
}

function signOut() {
  try {
    sessionStorage.removeItem(SESSION);
  } catch {
    // Nothing was kept.
  }
  location.reload();
}

function relabel() {
  document.title = language.say("title.console");
  const who = document.getElementById("who");
  who.hidden = !account.user;
  who.textContent = language.say("console.signedIn", { name: account.user?.name ?? "" });
  showProblem(problem, null);
}
