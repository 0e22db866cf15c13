// Which view an address shows. Those that are seldom opened are loaded when they are.
import { computed, html, useEffect, useState } from "../html.js";
import { route } from "../router.js";
import { user } from "../session.js";
import { Inbox } from "./inbox.js";
import { Notices, Shell } from "./shell.js";
import { SignIn, SignUp } from "./sign.js";

const WIDGET = /^\/inbox\/widgets\/([0-9a-f-]{36})$/;
const WEBHOOK = /^\/inbox\/webhooks\/([0-9a-f-]{36})$/;
const STATISTICS = /^\/inbox\/widgets\/([0-9a-f-]{36})\/statistics$/;

/** Address, name, and how its view is loaded. */
const VIEWS = [
  [/^\/inbox\/widgets$/, "Widgets", () => import("./widgets.js").then((module) => module.Widgets)],
  [/^\/inbox\/widgets\/new$/, "New widget", () => import("./widget.js").then((module) => module.NewWidget)],
  [WIDGET, "Widget", () => import("./widget.js").then((module) => module.EditWidget)],
  [STATISTICS, "Statistics", () => import("./statistics.js").then((module) => module.Statistics)],
  [/^\/inbox\/webhooks$/, "Webhooks", () => import("./webhooks.js").then((module) => module.Webhooks)],
  [/^\/inbox\/webhooks\/new$/, "New webhook", () => import("./webhook.js").then((module) => module.NewWebhook)],
  [WEBHOOK, "Webhook", () => import("./webhook.js").then((module) => module.EditWebhook)],
  [/^\/inbox\/settings$/, "Settings", () => import("./settings.js").then((module) => module.Settings)],
];

const viewOf = (path) => VIEWS.find(([pattern]) => pattern.test(path));

export const nameOfView = computed(() => {
  const { path } = route.value;
  if (!user.value) return path === "/inbox/signup" ? "Sign up" : "Sign in";
  return viewOf(path)?.[1] ?? "Inbox";
});

const loaded = new Map();

function Later({ view: [pattern, name, load], path }) {
  const [, drawAgain] = useState(0);
  const [isBroken, setBroken] = useState(false);
  useEffect(() => {
    if (loaded.has(name)) return;
    load().then((view) => {
      loaded.set(name, view);
      drawAgain((count) => count + 1);
    }, () => setBroken(true));
  }, [name]);
  const View = loaded.get(name);
  if (View) return html`<${View} key=${path} id=${pattern.exec(path)?.[1]} />`;
  return html`<main class="page" id="main" tabindex="-1">
    ${isBroken && html`<p role="alert">This could not be loaded. <a href=${path} target="_self">Try again</a></p>`}
  </main>`;
}

const Unreachable = () => html`<main class="page" id="main" tabindex="-1">
  <p role="alert">There is no connection to the server. Trying again…</p>
</main>`;

export function App() {
  const { path } = route.value;
  const view = viewOf(path);
  if (user.value === undefined) return html`<${Unreachable} />`;
  if (!user.value) return html`${path === "/inbox/signup" ? html`<${SignUp} />` : html`<${SignIn} />`}<${Notices} />`;
  return html`<${Shell}>${view ? html`<${Later} key=${view[1]} view=${view} path=${path} />` : html`<${Inbox} />`}<//><${Notices} />`;
}
