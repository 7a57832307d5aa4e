import { element, icon } from "./element.js";
import { language } from "./language.js";

/** Show what went wrong in a box that screen readers read at once; `null` clears it. */
export function showProblem(box, error) {
  if (!error) {
    box.replaceChildren();
    return;
  }
  const close = element("button.button.icon-only", { type: "button", "aria-label": language.say("common.close") }, icon("close"));
  close.addEventListener("click", () => box.replaceChildren());
  box.replaceChildren(icon("alert"), element("p", {}, language.explain(error)), close);
}
